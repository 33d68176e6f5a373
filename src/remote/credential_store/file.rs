//! The files of the store: read only where nobody else can have written them, replaced as a whole.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;

use super::error::StoreError;

/// Times that a file is opened again because it was replaced between the look at it and the opening.
const OPENINGS_MAX: u32 = 100;

/// What is said of a file that is too large.
type TooLarge = fn(&Path) -> StoreError;

/// Reads a file of at most `max` bytes; `None` if there is none.
///
/// # Errors
/// It is a symbolic link or no file, others can read or write it, somebody else owns it, it is larger, or the system says no.
pub(super) fn read(path: &Path, max: usize, too_large: TooLarge) -> Result<Option<Vec<u8>>, StoreError> {
    let Some((file, metadata)) = open(path)? else {
        return Ok(None);
    };
    refuse_shared(path, &metadata)?;
    if let Some(folder) = path.parent() {
        refuse_folder(folder)?;
        let owner = std::fs::metadata(folder).map_err(StoreError::io("look at", folder))?;
        refuse_owner(path, owner_of(&metadata), owner_of(&owner))?;
    }
    bounded(path, file, max, too_large).map(Some)
}

/// Reads a file of keys. Symbolic links are followed: that is how some systems hand secrets over.
///
/// # Errors
/// It is not there, others can read or write it, it is larger than `max`, or the system says no.
#[expect(clippy::disallowed_methods, reason = "the credential store reads keys")]
pub(super) fn read_keys(path: &Path, max: usize, too_large: TooLarge) -> Result<Vec<u8>, StoreError> {
    // a pipe would be waited for
    let metadata = std::fs::metadata(path).map_err(StoreError::io("read the key file", path))?;
    if !metadata.is_file() {
        return Err(no_file(path));
    }
    let file = File::open(path).map_err(StoreError::io("read the key file", path))?;
    refuse_shared(path, &file.metadata().map_err(StoreError::io("look at", path))?)?;
    bounded(path, file, max, too_large)
}

/// Replaces a file as a whole, durably: killed anywhere, it is the old one or the new one. One caller at a time.
///
/// # Errors
/// The system says no, or the file belongs to somebody else, who could not read the new one.
#[expect(clippy::disallowed_methods, reason = "the credential store owns its files")]
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let fresh = path.with_extension("json.new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(StoreError::io("remove", &fresh)(error)),
        _ => {}
    }
    let put = || {
        let file = create(&fresh, bytes)?;
        if let (Ok(old), Ok(new)) = (std::fs::metadata(path), file.metadata()) {
            refuse_owner(path, owner_of(&old), owner_of(&new))?;
        }
        std::fs::rename(&fresh, path).map_err(StoreError::io("put in place", path))
    };
    if let Err(error) = put() {
        // nobody needs it, and the next one removes it
        drop(std::fs::remove_file(&fresh));
        return Err(error);
    }
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes a file that is not there yet, which only its owner can read, durable but for its name.
///
/// # Errors
/// The system says no.
#[expect(clippy::disallowed_methods, reason = "the credential store owns its files")]
pub(super) fn create(path: &Path, bytes: &[u8]) -> Result<File, StoreError> {
    let mut file =
        private(OpenOptions::new().write(true).create_new(true)).open(path).map_err(StoreError::io("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(StoreError::io("write", path))?;
    Ok(file)
}

/// Removes a file and makes that durable.
///
/// # Errors
/// The system says no.
#[expect(clippy::disallowed_methods, reason = "the credential store owns its files")]
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    std::fs::remove_file(path).map_err(StoreError::io("remove", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Opens a file to lock it; it is made if it is not there.
///
/// # Errors
/// It is a symbolic link, the folder belongs to somebody else, or the system says no.
#[expect(clippy::disallowed_methods, reason = "the credential store owns its files")]
pub(super) fn open_lock(path: &Path) -> Result<File, StoreError> {
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(no_file(path));
    }
    let mut options = OpenOptions::new();
    let file = private(options.read(true).write(true).create(true).truncate(false))
        .open(path)
        .map_err(StoreError::io("open", path))?;
    if let (Some(folder), Ok(locked)) = (path.parent(), file.metadata()) {
        let metadata = std::fs::metadata(folder).map_err(StoreError::io("look at", folder))?;
        if let Err(error) = refuse_owner(folder, owner_of(&metadata), owner_of(&locked)) {
            // root can make it, and then the folder's owner could not open it any more
            drop(std::fs::remove_file(path));
            return Err(error);
        }
    }
    Ok(file)
}

/// Makes a folder that only its owner can enter, durably, if it is not there.
///
/// # Errors
/// The system says no, or others can write in the folder that is there.
pub(super) fn make_folder(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return refuse_folder(path);
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(StoreError::io("create the folder", path)(error)),
        _ => path.parent().map_or(Ok(()), sync_folder),
    }
}

/// As [`make_folder`], and those above it that are not there.
///
/// # Errors
/// As [`make_folder`].
pub(super) fn make_folders(path: &Path) -> Result<(), StoreError> {
    let above = path.ancestors().skip(1);
    let missing: Vec<&Path> = above.take_while(|folder| *folder != Path::new("") && !folder.is_dir()).collect();
    missing.into_iter().rev().try_for_each(make_folder)?;
    make_folder(path)
}

/// Makes the names in a folder durable.
#[expect(clippy::disallowed_methods, reason = "the credential store owns the folder's entries of its files")]
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    // of a path of one name
    let folder = if folder == Path::new("") { Path::new(".") } else { folder };
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::io("sync", folder))?;
    }
    Ok(())
}

/// Opens a file that is no symbolic link, and was none when it was opened.
#[expect(clippy::disallowed_methods, reason = "the credential store owns its files")]
fn open(path: &Path) -> Result<Option<(File, Metadata)>, StoreError> {
    for _ in 0..OPENINGS_MAX {
        let seen = match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            seen => seen.map_err(StoreError::io("look at", path))?,
        };
        if !seen.is_file() {
            return Err(no_file(path));
        }
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file.map_err(StoreError::io("read", path))?,
        };
        let opened = file.metadata().map_err(StoreError::io("look at", path))?;
        // another one was put in its place meanwhile, by a write or by somebody with something in mind
        if identity(&seen) == identity(&opened) {
            return Ok(Some((file, opened)));
        }
    }
    let detail = "is replaced again and again while it is opened".to_owned();
    Err(StoreError::Permissions { path: path.to_owned(), detail, hint: "what else writes there?".to_owned() })
}

/// One byte more than `max` is read, and no more, to see that it is larger.
fn bounded(path: &Path, file: File, max: usize, too_large: TooLarge) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    if bytes.len() > max { Err(too_large(path)) } else { Ok(bytes) }
}

fn no_file(path: &Path) -> StoreError {
    StoreError::Permissions {
        path: path.to_owned(),
        detail: "is no file, or a symbolic link to one".to_owned(),
        hint: "put the file itself there".to_owned(),
    }
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &OpenOptions {
    options
}

#[cfg(unix)]
fn refuse_shared(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(StoreError::Permissions {
        path: path.to_owned(),
        detail: format!("can be used by others than its owner (mode {:03o})", mode & 0o777),
        hint: format!("`chmod 600 {}`; if others may have read it, take new keys and new credentials", path.display()),
    })
}

#[cfg(unix)]
fn refuse_folder(folder: &Path) -> Result<(), StoreError> {
    let metadata = std::fs::metadata(folder).map_err(StoreError::io("look at", folder))?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
    if mode & 0o022 == 0 {
        return Ok(());
    }
    Err(StoreError::Permissions {
        path: folder.to_owned(),
        detail: format!("can be written in by others than its owner (mode {:03o})", mode & 0o777),
        hint: format!("`chmod 700 {}`", folder.display()),
    })
}

#[cfg(unix)]
fn owner_of(metadata: &Metadata) -> Option<u32> {
    Some(std::os::unix::fs::MetadataExt::uid(metadata))
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn refuse_shared(_: &Path, _: &Metadata) -> Result<(), StoreError> {
    Ok(())
}

#[cfg(not(unix))]
fn refuse_folder(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

#[cfg(not(unix))]
fn owner_of(_: &Metadata) -> Option<u32> {
    None
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// Of a file that belongs to somebody else than its folder or this process, who wrote it is not known, and they could not read a new one.
pub(super) fn refuse_owner(path: &Path, owner: Option<u32>, expected: Option<u32>) -> Result<(), StoreError> {
    match (owner, expected) {
        (Some(owner), Some(expected)) if owner != expected => Err(StoreError::Permissions {
            path: path.to_owned(),
            detail: format!("belongs to user {owner}, not to user {expected}"),
            hint: "run headwater as the user that the project belongs to, or give that user the file with `chown`"
                .to_owned(),
        }),
        _ => Ok(()),
    }
}
