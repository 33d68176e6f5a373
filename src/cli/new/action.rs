use std::path::Path;

use serde_json::{Value, json};

use super::{SampleFile, Writing, files};
use crate::cli::output::Failure;
use crate::cli::questions::{Question, Questions};
use crate::cli::{Done, given};
use crate::draft::{
    ActionDraft, BodyKind, BodyMember, Setting, Verb, column_name, files_of_action, surroundings, with_inputs,
};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("method").multiple(false)))]
pub(super) struct Arguments {
    /// The provider and the action's name: `acme/create-contact`.
    #[arg(value_name = "PROVIDER/NAME")]
    name: String,
    /// GET this path; what changes stands in braces: `/contacts/{id}`.
    #[arg(long, value_name = "PATH", group = "method")]
    get: Option<String>,
    /// POST to this path.
    #[arg(long, value_name = "PATH", group = "method")]
    post: Option<String>,
    /// PUT to this path.
    #[arg(long, value_name = "PATH", group = "method")]
    put: Option<String>,
    /// PATCH this path.
    #[arg(long, value_name = "PATH", group = "method")]
    patch: Option<String>,
    /// DELETE this path.
    #[arg(long, value_name = "PATH", group = "method")]
    delete: Option<String>,
    /// What a caller gives besides what stands in the path: its name, perhaps its type (string, integer, number, boolean, array, object)
    /// and a `!` if it must be given: `email:string!`. It goes into the body, of GET and DELETE into the query; a dot leads into an object
    /// of a JSON body: `profile.email`. May be given several times.
    #[arg(long = "input", value_name = "NAME[:TYPE][!]")]
    inputs: Vec<String>,
    /// The body is a form, not JSON.
    #[arg(long)]
    form: bool,
    /// The page of the API's documentation about this request.
    #[arg(long, value_name = "URL")]
    docs: Option<String>,
    #[command(flatten)]
    sample: SampleFile,
    #[command(flatten)]
    writing: Writing,
}

const TYPES: [&str; 6] = ["string", "integer", "number", "boolean", "array", "object"];

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let (provider, name) = super::named(&arguments.name, "create-contact")?;
    let spec = files::provider(folder, provider)?;
    let draft = asked(name, arguments)?;
    let written = files_of_action(&draft, &surroundings(&spec));
    let next = [
        format!("headwater test {provider}/{name}                   run its test, without a network"),
        format!("headwater call {provider}/{name} --input '{{…}}'    call it"),
    ];
    files::write(folder, &written, &arguments.writing, &next)?;
    Ok(0)
}

fn asked(name: &str, arguments: &Arguments) -> Result<ActionDraft, Failure> {
    let questions = arguments.writing.questions();
    let (verb, path) = method(arguments, &questions)?;
    let inputs = Question::new(
        "--input",
        "what a caller gives",
        "names with types, and commas between them; with `!` what must be given: email:string!, profile.age:integer",
    );
    let inputs = match arguments.inputs.as_slice() {
        [] => questions
            .maybe(&inputs, None, None)?
            .unwrap_or_default()
            .split(',')
            .map(|one| one.trim().to_owned())
            .filter(|one| !one.is_empty())
            .collect(),
        given => given.to_vec(),
    };
    let docs = Question::new("--docs", "documentation of this request", "the page that describes it");
    let docs = questions.maybe(&docs, arguments.docs.as_ref(), None)?;
    let mut settings = Vec::new();
    let Some(path) = with_inputs(&path, &mut settings) else {
        let hint = "begin it with `/`, and write what changes in braces: `/contacts/{id}`".to_owned();
        return Err(Failure::user(format!("`{path}` is no path under the base URL"), Some(hint)));
    };
    let mut members = Vec::new();
    for text in &inputs {
        let (member, setting) = input(text)?;
        if settings.iter().any(|(_, known)| known.name == setting.name) {
            let message = format!("`{}` would be given twice", setting.name);
            return Err(Failure::user(
                message,
                Some("give each input, and each name in braces, a name of its own".to_owned()),
            ));
        }
        members.push((member.clone(), setting.name.clone()));
        settings.push((member, setting));
    }
    let (query, body) = match (members.is_empty(), verb) {
        (true, _) => (Vec::new(), None),
        (false, Verb::Get | Verb::Delete) => (members, None),
        (false, _) if arguments.form => {
            (Vec::new(), Some((BodyKind::Form, members.into_iter().map(|(name, input)| (vec![name], input)).collect())))
        }
        (false, _) => (Vec::new(), Some((BodyKind::Json, nested(members)?))),
    };
    let answer = answer(arguments, verb)?;
    Ok(ActionDraft {
        name: name.to_owned(),
        description: None,
        docs,
        scopes: Vec::new(),
        verb,
        path,
        input: settings.into_iter().map(|(_, setting)| setting).collect(),
        query,
        body,
        answer,
        notes: Vec::new(),
    })
}

/// The method and its path.
fn method(arguments: &Arguments, questions: &Questions) -> Result<(Verb, String), Failure> {
    let Arguments { get, post, put, patch, delete, .. } = arguments;
    let given = [(Verb::Get, get), (Verb::Post, post), (Verb::Put, put), (Verb::Patch, patch), (Verb::Delete, delete)];
    let given = given.into_iter().find_map(|(verb, path)| Some((verb, path.clone()?)));
    match given {
        Some(given) => Ok(given),
        None => {
            let method = Question::new("--post", "method", "give the method with its path: `--post /contacts`");
            if !questions.is_asked() {
                questions.needed(&method, None)?;
            }
            let word = questions.choice(&method, None, &Verb::ALL.map(Verb::word), "post")?;
            let explains = "under the base URL; what changes stands in braces: /contacts/{id}";
            let path = Question::new("--post", "path", explains);
            let verb = Verb::ALL.into_iter().find(|verb| verb.word() == word).unwrap_or(Verb::Post);
            Ok((verb, questions.needed(&path, None)?))
        }
    }
}

/// What the API answers in the test: the shape of the sample, without what stands in it.
fn answer(arguments: &Arguments, verb: Verb) -> Result<Option<Value>, Failure> {
    let Some(file) = &arguments.sample.sample else {
        return Ok(if verb == Verb::Delete { None } else { Some(json!({ "id": 1 })) });
    };
    let text = given::bytes(file)?;
    let value: Value = serde_json::from_slice(&text)
        .map_err(|error| Failure::user(format!("`{}` is no JSON: {error}", file.display()), None))?;
    Ok(Some(crate::draft::without_data(&value)))
}

/// Members of a JSON body, with a dot between the names that lead to one.
fn nested(members: Vec<(String, String)>) -> Result<Vec<BodyMember>, Failure> {
    let mut paths: Vec<BodyMember> = Vec::with_capacity(members.len());
    for (member, input) in members {
        let path: Vec<String> = member.split('.').map(str::to_owned).collect();
        let is_above = |one: &[String], other: &[String]| other.starts_with(one);
        let clash = paths.iter().find(|(known, _)| is_above(known, &path) || is_above(&path, known));
        if path.iter().any(String::is_empty) || clash.is_some() {
            let hint = "a dot leads into an object, which is no value of its own: `profile.email` and `profile.name`";
            return Err(Failure::user(format!("`{member}` has no place in the body"), Some(hint.to_owned())));
        }
        paths.push((path, input));
    }
    Ok(paths)
}

/// `email:string!` as the member and its setting.
fn input(text: &str) -> Result<(String, Setting), Failure> {
    let (text, required) = text.strip_suffix('!').map_or((text, false), |text| (text, true));
    let (name, kind) = text.split_once(':').unwrap_or((text, "string"));
    if name.is_empty() || !TYPES.contains(&kind) {
        let hint = format!("write `NAME:TYPE`; types are {}", TYPES.join(", "));
        return Err(Failure::user(format!("`{text}` is nothing that a caller could give"), Some(hint)));
    }
    let own = column_name(name);
    let example = match kind {
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        "array" => json!(["a"]),
        "object" => json!({ "a": 1 }),
        _ => json!(format!("some-{own}")),
    };
    Ok((name.to_owned(), Setting { name: own, schema: json!({ "type": kind }), required, example }))
}
