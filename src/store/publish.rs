//! A copy of the database for tools that want a file that never blocks.

use std::fs::File;
use std::path::Path;

use super::error::Error;
use super::file::{Access, Warehouse, folder_of, sync_folder, with_suffix};

/// Copies the database to `target` and renames it into place.
///
/// While the bytes are copied the file is attached for reading, so that no process writes it, and its write-ahead log has been folded in
/// before. Closing the copy's own handle ends that lock (see [`super::file`]): after the last byte, so it does no harm.
pub fn publish(warehouse: &mut Warehouse, target: &Path) -> Result<(), Error> {
    // a log that a killed process left is folded in by opening and closing the file for writing
    warehouse.attach(Access::Write)?;
    warehouse.detach()?;
    warehouse.attach(Access::Read)?;
    let copied = copy(warehouse.path(), target);
    warehouse.detach()?;
    copied
}

#[expect(clippy::disallowed_methods, reason = "the store owns the published copy")]
fn copy(source: &Path, target: &Path) -> Result<(), Error> {
    if let (Ok(source), Ok(target)) = (source.canonicalize(), target.canonicalize())
        && source == target
    {
        let same = std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is the database itself");
        return Err(Error::File { doing: "publish to", path: target, source: same });
    }
    let fresh = with_suffix(target, ".new");
    std::fs::copy(source, &fresh).map_err(Error::file("copy the database to", &fresh))?;
    File::open(&fresh).and_then(|file| file.sync_all()).map_err(Error::file("sync", &fresh))?;
    // a log beside an earlier copy would be replayed onto this one
    let log = with_suffix(target, ".wal");
    if log.exists() {
        std::fs::remove_file(&log).map_err(Error::file("remove", &log))?;
    }
    std::fs::rename(&fresh, target).map_err(Error::file("put in place", target))?;
    sync_folder(&folder_of(target))
}
