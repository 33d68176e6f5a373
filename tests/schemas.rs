//! The JSON Schemas that are checked in, and the first line by which editors find them.

use std::path::{Path, PathBuf};

use headwater::plan::{Known, compile};
use headwater::spec::schema::Kind;
use headwater::{files, spec};
use serde_json::Value;

use crate::language::rendered;
use crate::support::Project;

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
}

/// The first line by which an editor finds the schema, and the file it leads to.
fn schema_of(path: &Path, text: &str) -> PathBuf {
    let name = path.display();
    let schema = text.lines().next().and_then(|line| line.strip_prefix("# yaml-language-server: $schema="));
    let schema = schema.unwrap_or_else(|| panic!("{name}: the first line names no schema"));
    let target = path.parent().expect("a folder").join(schema);
    target.canonicalize().unwrap_or_else(|_| panic!("{name}: there is no {schema}"))
}

/// Whether a file keeps to the schema it names, as an editor would say it.
fn keeps_to_its_schema(path: &Path, schemas: &Path) {
    let text = std::fs::read_to_string(path).expect("a file");
    let name = path.display();
    let target = schema_of(path, &text);
    assert_eq!(target.parent(), schemas.canonicalize().ok().as_deref(), "{name}");
    let schema: Value = serde_json::from_slice(&std::fs::read(&target).expect("a schema")).expect("JSON");
    let value = spec::yaml::parse(&text).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{name} does not keep to {}: {errors:#?}", target.display());
}

#[test]
fn schemas_are_fresh() {
    for kind in Kind::ALL {
        let path = top().join(format!("schemas/{kind}.json"));
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let made = serde_json::to_string_pretty(kind.schema()).expect("JSON") + "\n";
        assert!(kept == made, "schemas/{kind}.json is stale: `./dev schemas` makes it fresh");
        assert!(jsonschema::meta::is_valid(kind.schema()), "schemas/{kind}.json is no JSON Schema");
    }
    let files = std::fs::read_dir(top().join("schemas")).expect("a folder").count();
    assert_eq!(files, Kind::ALL.len(), "schemas/ holds a file that no kind of document has");
}

/// What editors show: every key of every map has a description.
#[test]
fn every_key_is_described() {
    fn look(at: &str, node: &Value, bare: &mut Vec<String>) {
        if let Some(properties) = node.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                if property.get("description").is_none() {
                    bare.push(format!("{at}.{name}"));
                }
            }
        }
        match node {
            Value::Object(members) => {
                members.iter().for_each(|(name, inner)| look(&format!("{at}.{name}"), inner, bare));
            }
            Value::Array(items) => items.iter().for_each(|inner| look(at, inner, bare)),
            _ => {}
        }
    }
    let mut bare = Vec::new();
    for kind in Kind::ALL {
        look(kind.name(), kind.schema(), &mut bare);
    }
    assert!(bare.is_empty(), "without description: {bare:#?}");
}

#[test]
fn every_shipped_file_names_its_schema_and_keeps_to_it() {
    let mut shipped = Vec::new();
    for folder in ["providers", "integrations", "examples", "docs/reference/examples"] {
        yaml_files(&top().join(folder), &mut shipped);
    }
    assert!(shipped.len() >= 20, "{}", shipped.len());
    for path in shipped {
        keeps_to_its_schema(&path, &top().join("schemas"));
    }
}

#[test]
fn a_new_project_keeps_to_its_schemas_and_has_no_mistake() {
    let project = Project::empty();
    let made = project.headwater(&["init"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let mut files = Vec::new();
    yaml_files(project.path(), &mut files);
    assert_eq!(files.len(), 4, "a project, a provider, a sync and a model: {files:?}");
    for path in files {
        keeps_to_its_schema(&path, &project.path().join("schemas"));
    }
    let check = project.headwater(&["check", "--strict"]);
    assert_eq!(
        (check.code, check.stdout.as_str(), check.stderr.as_str()),
        (0, "ok: 1 sync of 1 connection, 0 warnings\n", "")
    );
}

#[test]
fn the_examples_have_no_mistakes() {
    let mut examples = 0;
    for entry in std::fs::read_dir(top().join("examples")).expect("a folder") {
        let folder = entry.expect("an entry").path();
        let compiled = compile(&files::read_project(&folder).expect("a project"), &folder, &Known::default());
        assert!(compiled.diagnostics.is_empty(), "{}", rendered(&compiled.diagnostics));
        assert!(!compiled.plan.expect("a plan").syncs.is_empty());
        examples += 1;
    }
    assert!(examples > 0);
}
