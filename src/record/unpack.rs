//! What is packed, unpacked: gzip (RFC 1952) and zip, found by how they begin, whatever a header says.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use super::archive::Archive;
use super::decode::{DecodeError, DecodeErrorKind};
use crate::plan::limits;

/// The files in a body: the body itself, what a gzip holds, or the files of a zip in their order; again, if they are packed too.
///
/// # Errors
/// Something that begins as an archive and is none, more than [`limits::RESPONSE_BYTES_MAX`] bytes in all, more files than
/// [`limits::ARCHIVE_FILES_MAX`], a file that is encrypted, or archives in archives beyond [`limits::ARCHIVE_DEPTH_MAX`].
pub fn unpack(body: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, DecodeError> {
    let mut files = vec![Cow::Borrowed(body)];
    for _ in 0..limits::ARCHIVE_DEPTH_MAX {
        if !files.iter().any(|file| is_packed(file)) {
            return Ok(files);
        }
        let mut left = limits::RESPONSE_BYTES_MAX;
        let mut inner = Vec::with_capacity(files.len());
        for file in files {
            if is_packed(&file) {
                inner.extend(one(&file, &mut left)?.into_iter().map(Cow::Owned));
            } else {
                left = left.checked_sub(file.len()).ok_or_else(too_large)?;
                inner.push(file);
            }
            if inner.len() > limits::ARCHIVE_FILES_MAX {
                return Err(broken(&format!("it has more than {} files", limits::ARCHIVE_FILES_MAX)));
            }
        }
        files = inner;
    }
    if files.iter().any(|file| is_packed(file)) {
        return Err(broken("archives stand in archives too often"));
    }
    Ok(files)
}

/// Whether a file is a gzip or a zip.
pub fn is_packed(file: &[u8]) -> bool {
    is_gzip(file) || is_zip(file)
}

/// Whether a file that begins so is a gzip.
pub(super) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

/// Whether a file that begins so is a zip.
pub(super) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

fn one(file: &[u8], left: &mut usize) -> Result<Vec<Vec<u8>>, DecodeError> {
    if is_gzip(file) {
        // several members in a row are one file (RFC 1952, 2.2)
        return Ok(vec![read(flate2::read::MultiGzDecoder::new(file), left)?]);
    }
    let mut archive = Archive::open(Cursor::new(file)).map_err(|error| broken(&error.to_string()))?;
    let mut files = Vec::new();
    while let Some(file) = archive.next_file().map_err(|error| broken(&error.to_string()))? {
        files.push(read(file, left)?);
    }
    Ok(files)
}

/// All of it, as long as it is not more than may be left.
fn read(from: impl Read, left: &mut usize) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::new();
    let most = u64::try_from(*left).unwrap_or(u64::MAX).saturating_add(1);
    from.take(most).read_to_end(&mut bytes).map_err(|error| broken(&error.to_string()))?;
    *left = left.checked_sub(bytes.len()).ok_or_else(too_large)?;
    Ok(bytes)
}

fn too_large() -> DecodeError {
    broken(&format!("it holds more than {} MiB", limits::RESPONSE_BYTES_MAX >> 20))
}

pub(super) fn broken(reason: &str) -> DecodeError {
    DecodeError::of(
        DecodeErrorKind::Archive,
        (1, 1, 0),
        format!("the body is an archive that cannot be read: {reason}"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut packer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            packer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            packer.write_all(bytes).unwrap();
        }
        packer.finish().unwrap().into_inner()
    }

    fn unpacked(body: &[u8]) -> Result<Vec<String>, String> {
        let files = unpack(body).map_err(|error| error.to_string())?;
        Ok(files.iter().map(|file| String::from_utf8_lossy(file).into_owned()).collect())
    }

    #[test]
    fn what_is_packed_is_found_by_how_it_begins() {
        assert_eq!(unpacked(b"{}"), Ok(vec!["{}".to_owned()]));
        assert_eq!(unpacked(&gzip(b"{}")), Ok(vec!["{}".to_owned()]));
        assert_eq!(unpacked(&[gzip(b"{"), gzip(b"}")].concat()), Ok(vec!["{}".to_owned()]), "two members are one file");
        let several = zip(&[("a/", b""), ("a/1.json", b"1"), ("__MACOSX/a/._1", b"x"), ("2.gz", &gzip(b"2"))]);
        assert_eq!(unpacked(&several), Ok(vec!["1".to_owned(), "2".to_owned()]), "and what is packed inside");
        assert_eq!(unpacked(&zip(&[])), Ok(Vec::new()));
    }

    #[test]
    fn what_is_too_large_too_deep_or_broken_is_told() {
        let bomb = gzip(&vec![0; limits::RESPONSE_BYTES_MAX + 1]);
        assert!(bomb.len() < 1 << 20 && unpacked(&bomb).unwrap_err().contains("more than 64 MiB"));
        let half = vec![0; limits::RESPONSE_BYTES_MAX / 2 + 1];
        let together = zip(&[("a", &half), ("b", &half)]);
        assert!(unpacked(&together).unwrap_err().contains("more than 64 MiB"), "all files count");
        let mut nested = b"1".to_vec();
        for _ in 0..=limits::ARCHIVE_DEPTH_MAX {
            nested = gzip(&nested);
        }
        assert!(unpacked(&nested).unwrap_err().contains("too often"));
        let cut = gzip(b"some text that is long enough");
        for end in 3..cut.len() {
            assert!(unpacked(&cut[..end]).unwrap_err().contains("cannot be read"), "{end}");
        }
        let cut = zip(&[("a", b"text")]);
        for end in 4..cut.len() {
            assert!(unpacked(&cut[..end]).is_err(), "{end}");
        }
    }
}
