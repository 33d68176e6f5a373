//! The only reader of YAML files: a project's folders and the built-in catalogue.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use crate::diagnostic::Source;
use crate::plan::{Input, limits};
use crate::spec::ProjectSpec;
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
    /// more than a project can have
    #[error("more than {max} YAML files below {0}", max = limits::FILES_MAX)]
    TooMany(String),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoProject(_) => Some("`headwater init` makes a project here; `--project DIR` names another folder"),
            Self::Unreadable { .. } | Self::TooMany(_) => None,
        }
    }
}

/// Reads all YAML files of the project in `folder`, its own first, then the catalogue.
///
/// # Errors
/// No project file, a file that cannot be read (one that is not UTF-8 too), or too many.
pub fn read_project(folder: &Path) -> Result<Vec<Input>, Error> {
    let file = folder.join(PROJECT_FILE);
    if !file.is_file() {
        return Err(Error::NoProject(folder.display().to_string()));
    }
    let source = read(&file, folder)?;
    // a project file with mistakes still tells where its folders are, or they are where they usually are
    let spec: Option<ProjectSpec> =
        yaml::parse(&source.text).ok().and_then(|value| serde_json::from_value(value).ok());
    let (providers, integrations) = match spec {
        Some(spec) => (spec.providers, spec.integrations),
        None => (None, None),
    };
    let mut inputs = vec![Input { source, kind: Kind::Project, integration: None, builtin: false }];
    for name in providers.unwrap_or_else(|| vec!["providers".into()]) {
        for path in yaml_files(&folder.join(name))? {
            inputs.push(Input { source: read(&path, folder)?, kind: Kind::Provider, integration: None, builtin: false });
        }
    }
    for name in integrations.unwrap_or_else(|| vec!["integrations".into()]) {
        let root = folder.join(name);
        for provider in entries(&root)?.into_iter().filter(|path| path.is_dir()) {
            let integration = provider.file_name().map(|name| name.to_string_lossy().into_owned());
            for (folder_name, kind) in INTEGRATION_FOLDERS {
                for path in yaml_files(&provider.join(folder_name))? {
                    let source = read(&path, folder)?;
                    inputs.push(Input { source, kind, integration: integration.clone(), builtin: false });
                }
            }
        }
    }
    inputs.extend(catalogue());
    if inputs.len() > limits::FILES_MAX {
        return Err(Error::TooMany(folder.display().to_string()));
    }
    Ok(inputs)
}

const INTEGRATION_FOLDERS: [(&str, Kind); 2] = [("models", Kind::Model), ("syncs", Kind::Sync)];

/// The built-in catalogue.
pub fn catalogue() -> Vec<Input> {
    let mut inputs = Vec::new();
    let input = |file: &include_dir::File<'static>, kind, integration| Input {
        source: Arc::new(Source {
            not_utf8: None, name: format!("<catalogue>/{}", file.path().display()),
            text: file.contents_utf8().unwrap_or_default().to_owned(),
        }),
        kind,
        integration,
        builtin: true,
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

#[expect(clippy::disallowed_methods, reason = "this is the room that reads YAML files")]
fn read(path: &Path, folder: &Path) -> Result<Arc<Source>, Error> {
    let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Arc::new(Source::new(name, text))),
        Err(error) => Err(Error::Unreadable { path: name, error }),
    }
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_file() && is_yaml(path)).collect())
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
