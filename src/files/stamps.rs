//! When the files of a project were changed last, for who waits for a change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{OVERLAY_FILE, PROJECT_FILE, entries, folders, project_file};
use crate::plan::limits;

/// What tells one state of a file from another: when it was changed, and how long it is.
type Stamp = (Option<SystemTime>, u64);

/// The files of a project at one moment, by their names relative to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamps(BTreeMap<String, Stamp>);

impl Stamps {
    /// The files that are new, gone or other ones since `before`.
    pub fn since(&self, before: &Self) -> BTreeSet<String> {
        let names = self.0.keys().chain(before.0.keys());
        names.filter(|name| self.0.get(*name) != before.0.get(*name)).cloned().collect()
    }
}

/// The files of the project in `folder` that mean something, and those beside its tests. What cannot be looked at is not there: it may
/// be on its way, and who reads it says so.
pub fn stamps(folder: &Path) -> Stamps {
    let mut found = BTreeMap::new();
    for name in [PROJECT_FILE, OVERLAY_FILE] {
        note(&mut found, folder, &folder.join(name));
    }
    let project = project_file(folder).ok();
    for key in ["providers", "integrations"] {
        let named = project.as_ref().and_then(|project| folders(folder, project, key).ok());
        for root in named.unwrap_or_else(|| vec![folder.join(key)]) {
            below(&mut found, folder, &root, 0);
        }
    }
    Stamps(found)
}

fn below(found: &mut BTreeMap<String, Stamp>, project: &Path, folder: &Path, depth: usize) {
    let inner: Vec<PathBuf> = entries(folder).unwrap_or_default();
    for path in inner {
        // what editors and `headwater` itself put beside a file for a moment
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden || found.len() >= limits::FILES_MAX {
            continue;
        }
        if path.is_dir() {
            if depth < limits::WATCH_DEPTH_MAX {
                below(found, project, &path, depth + 1);
            }
        } else {
            note(found, project, &path);
        }
    }
}

fn note(found: &mut BTreeMap<String, Stamp>, project: &Path, path: &Path) {
    if let Ok(of) = std::fs::metadata(path) {
        let name = path.strip_prefix(project).unwrap_or(path).display().to_string().replace('\\', "/");
        found.insert(name, (of.modified().ok(), of.len()));
    }
}
