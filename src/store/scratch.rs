//! Room on disk for what does not fit into memory and is not kept.

use std::fs::File;
use std::io;
use std::path::Path;

/// A file without a name in this folder, which goes with its handle and with the process. Beside the database there is room for much, and
/// a system's temporary folder may be memory.
///
/// # Errors
/// There is no such folder, or nobody may write to it.
pub fn scratch(folder: &Path) -> io::Result<File> {
    tempfile::tempfile_in(folder)
}
