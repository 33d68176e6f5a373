//! The only reader of YAML files, a project's folders and the built-in catalogue, and of what tests have beside them.

mod overlay;
mod stamps;

use std::collections::HashSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};

pub use overlay::{OVERLAY_FILE, Overlay, Owner};
pub use stamps::{Stamps, stamps};

use crate::diagnostic::Source;
use crate::plan::{Input, limits};
use crate::spec::schema::Kind;
use crate::spec::yaml;

static PROVIDERS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/providers");
static INTEGRATIONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/integrations");

/// The file that makes a folder a project.
pub const PROJECT_FILE: &str = "headwater.yaml";

/// Why a project's files could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// there is no project here
    #[error("there is no `{PROJECT_FILE}` in {0}")]
    NoProject(String),
    /// the operating system said no
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// the file or folder
        path: String,
        /// what the system said
        error: std::io::Error,
    },
    /// the operating system said no
    #[error("{path} cannot be written: {error}")]
    Unwritable {
        /// the file
        path: String,
        /// what the system said
        error: std::io::Error,
    },
    /// the project file names a folder that is not there
    #[error("there is no folder `{0}`, which `{PROJECT_FILE}` names")]
    NoFolder(String),
    /// what the API has set cannot be read
    #[error("`{OVERLAY_FILE}`: {0}")]
    Overlay(String),
    /// what is to be set cannot be written down
    #[error("this cannot be written into `{OVERLAY_FILE}`: {0}")]
    Unsayable(String),
    /// the same
    #[error("`{OVERLAY_FILE}` would have more than {} KiB", limits::DOCUMENT_BYTES_MAX >> 10)]
    OverlayTooLarge,
    /// more than a project can have
    #[error("more than {max} YAML files below {0}", max = limits::FILES_MAX)]
    TooMany(String),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoProject(_) => Some("`headwater init` makes a project here; `--project DIR` names another folder"),
            Self::NoFolder(_) => Some("folders are relative to the project file"),
            Self::OverlayTooLarge => Some("set less, or take away what is not needed any more"),
            Self::Overlay(_) => Some("`headwater check` shows what is wrong with the file"),
            Self::Unreadable { .. } | Self::Unwritable { .. } | Self::Unsayable(_) | Self::TooMany(_) => None,
        }
    }
}

/// Reads all YAML files of the project in `folder`, its own first, then the catalogue.
///
/// # Errors
/// No project file, a file that cannot be read, a folder that is named and not there, or too many files.
pub fn read_project(folder: &Path) -> Result<Vec<Input>, Error> {
    let project = project_file(folder)?;
    let (providers, integrations) =
        (folders(folder, &project, "providers")?, folders(folder, &project, "integrations")?);
    let mut inputs =
        vec![Input { source: project, kind: Kind::Project, integration: None, builtin: false, stray: false }];
    inputs.extend(overlay::overlay_input(folder)?);
    for root in providers {
        add(&mut inputs, folder, &root, Kind::Provider, None, false)?;
        for inner in subfolders(&root)? {
            add(&mut inputs, folder, &inner, Kind::Provider, None, true)?;
        }
    }
    for root in integrations {
        add(&mut inputs, folder, &root, Kind::Sync, None, true)?;
        for provider in subfolders(&root)? {
            let integration = provider.file_name().map(|name| name.to_string_lossy().into_owned());
            add(&mut inputs, folder, &provider, Kind::Sync, integration.as_ref(), true)?;
            for inner in subfolders(&provider)? {
                let name = inner.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                match INTEGRATION_FOLDERS.iter().find(|(folder, _)| *folder == name) {
                    Some((_, kind)) => add(&mut inputs, folder, &inner, *kind, integration.as_ref(), false)?,
                    None => add(&mut inputs, folder, &inner, Kind::Sync, integration.as_ref(), true)?,
                }
            }
        }
    }
    // one folder can be both: what is read in one role is not stray in the other
    let read: HashSet<String> =
        inputs.iter().filter(|input| !input.stray).map(|input| input.source.name.clone()).collect();
    inputs.retain(|input| !input.stray || !read.contains(&input.source.name));
    inputs.extend(catalogue());
    Ok(inputs)
}

const INTEGRATION_FOLDERS: [(&str, Kind); 4] =
    [("models", Kind::Model), ("syncs", Kind::Sync), ("actions", Kind::Action), ("tests", Kind::Test)];

/// The folders that the project file names under `key`, or the usual one. A project file with mistakes elsewhere still tells.
fn folders(folder: &Path, project: &Source, key: &'static str) -> Result<Vec<PathBuf>, Error> {
    let document = yaml::parse(&project.text).ok();
    let Some(named) = document.as_ref().and_then(|document| document.get(key)?.as_array()) else {
        return Ok(vec![folder.join(key)]);
    };
    let paths = named.iter().filter_map(|name| name.as_str()).map(|name| {
        let path = folder.join(name);
        if path.is_dir() { Ok(path) } else { Err(Error::NoFolder(name.to_owned())) }
    });
    paths.collect()
}

fn add(
    inputs: &mut Vec<Input>,
    project: &Path,
    folder: &Path,
    kind: Kind,
    integration: Option<&String>,
    stray: bool,
) -> Result<(), Error> {
    for path in entries(folder)?.into_iter().filter(|path| path.is_file() && is_yaml(path)) {
        let source = read(&path, project)?;
        inputs.push(Input { source, kind, integration: integration.cloned(), builtin: false, stray });
        if inputs.len() > limits::FILES_MAX {
            return Err(Error::TooMany(project.display().to_string()));
        }
    }
    Ok(())
}

/// Reads the project file of a folder as text, to change it.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn project_text(folder: &Path) -> Result<String, Error> {
    Ok(project_file(folder)?.text.clone())
}

fn project_file(folder: &Path) -> Result<Arc<Source>, Error> {
    let file = folder.join(PROJECT_FILE);
    if !file.is_file() {
        return Err(Error::NoProject(folder.display().to_string()));
    }
    read(&file, folder)
}

/// Puts another text into the project file of a folder, whole or not at all.
///
/// # Errors
/// It cannot be written.
pub fn write_project(folder: &Path, text: &str) -> Result<(), Error> {
    write(folder, PROJECT_FILE, text)
}

/// Puts a text into the file `name` of a project, whole or not at all, and makes its folder if there is none.
///
/// # Errors
/// It cannot be written.
#[expect(clippy::disallowed_methods, reason = "`connect` changes the project file, `test --update` and `record` tests")]
pub fn write(folder: &Path, name: impl AsRef<Path>, text: &str) -> Result<(), Error> {
    let file = folder.join(name);
    let last = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!(".{last}.new"));
    let made = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = made.and_then(|()| std::fs::write(&beside, text)).and_then(|()| std::fs::rename(&beside, &file));
    written.map_err(|error| Error::Unwritable { path: file.display().to_string(), error })
}

/// Reads a file beside the document `document` of the project in `folder`, or of the built-in catalogue: an answer that a test gives.
///
/// # Errors
/// There is none, it cannot be read, or it is larger than an answer may be.
#[expect(clippy::disallowed_methods, reason = "this is the room that reads a project's files")]
pub fn beside(folder: &Path, document: &str, builtin: bool, file: &str) -> Result<Vec<u8>, Error> {
    let name = Path::new(document).with_file_name(file).display().to_string().replace('\\', "/");
    let unreadable = |error| Error::Unreadable { path: name.clone(), error };
    if builtin {
        let inside = name.strip_prefix("<catalogue>/").unwrap_or(&name);
        let found = INTEGRATIONS.get_file(inside).map(|file| file.contents().to_vec());
        return found.ok_or_else(|| unreadable(std::io::ErrorKind::NotFound.into()));
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(folder.join(&name)).map_err(unreadable)?;
    opened.take(limits::RESPONSE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > limits::RESPONSE_BYTES_MAX {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

/// The built-in catalogue.
pub fn catalogue() -> Vec<Input> {
    let mut inputs = Vec::new();
    let input = |file: &include_dir::File<'static>, kind, integration| Input {
        source: Arc::new(Source::new(format!("<catalogue>/{}", file.path().display()), file.contents())),
        kind,
        integration,
        builtin: true,
        stray: false,
    };
    for file in PROVIDERS.files().filter(|file| is_yaml(file.path())) {
        inputs.push(input(file, Kind::Provider, None));
    }
    for provider in INTEGRATIONS.dirs() {
        let integration = provider.path().file_name().map(|name| name.to_string_lossy().into_owned());
        for (folder, kind) in INTEGRATION_FOLDERS {
            let files = provider.get_dir(provider.path().join(folder)).into_iter().flat_map(Dir::files);
            for file in files.filter(|file| is_yaml(file.path())) {
                inputs.push(input(file, kind, integration.clone()));
            }
        }
    }
    inputs
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Reads a file, and of one that is too large only so much that this is seen.
#[expect(clippy::disallowed_methods, reason = "this is the room that reads YAML files")]
fn read(path: &Path, folder: &Path) -> Result<Arc<Source>, Error> {
    // people know paths with `/` from the documents, on every system
    let name = path.strip_prefix(folder).unwrap_or(path).display().to_string().replace('\\', "/");
    let unreadable = |error| Error::Unreadable { path: name.clone(), error };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limits::DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Arc::new(Source::new(name, bytes)))
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

#[expect(clippy::disallowed_methods, reason = "this is the room that reads YAML files")]
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let unreadable = |error| Error::Unreadable { path: folder.display().to_string(), error };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
        if paths.len() > limits::FILES_MAX {
            return Err(Error::TooMany(folder.display().to_string()));
        }
    }
    paths.sort();
    Ok(paths)
}
