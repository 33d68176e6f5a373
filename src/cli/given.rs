//! The files that a person names on the command line.

use std::io::Read;
use std::path::Path;

use super::output::Failure;
use crate::plan::limits;

/// The text of a file; `-` is standard input.
#[expect(clippy::disallowed_methods, reason = "the person named the file")]
pub(super) fn text(file: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::user(format!("`{}` cannot be read: {error}", file.display()), None);
    let mut text = String::new();
    let max = limits::DOCUMENT_BYTES_MAX as u64;
    let read = if file == Path::new("-") {
        std::io::stdin().take(max + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(max + 1).read_to_string(&mut text))
    };
    read.map_err(failed)?;
    if text.len() as u64 > max {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}

/// Writes a file anew.
#[expect(clippy::disallowed_methods, reason = "the person named the file")]
pub(super) fn write(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text)
        .map_err(|error| Failure::user(format!("`{}` cannot be written: {error}", file.display()), None))
}

/// The bytes of an answer of an API in a file; `-` is standard input.
#[expect(clippy::disallowed_methods, reason = "the person named the file")]
pub(super) fn bytes(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::user(format!("`{}` cannot be read: {error}", file.display()), None);
    let mut bytes = Vec::new();
    let max = limits::RESPONSE_BYTES_MAX as u64;
    let read = if file == Path::new("-") {
        std::io::stdin().take(max + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(max + 1).read_to_end(&mut bytes))
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > max {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}
