use std::path::Path;

use super::{Writing, files};
use crate::cli::Done;
use crate::cli::output::Failure;
use crate::cli::questions::Question;
use crate::draft::{Guess, ProviderDraft, Setting, Way, column_name, files_of_project, files_of_provider};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The provider's name: lowercase letters, digits, `-` and `_`. It is also the schema of its tables.
    name: String,
    /// Where the API is, without a `/` at the end. Names in braces are settings of a connection: `https://{region}.api.acme.com/v2`.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The API's name for people.
    #[arg(long)]
    title: Option<String>,
    /// The page where its documentation begins.
    #[arg(long, value_name = "URL")]
    docs: Option<String>,
    /// How a request proves who asks: none, api_key, bearer, basic, oauth or client_credentials.
    #[arg(long, value_name = "KIND")]
    auth: Option<String>,
    /// The header of an API key.
    #[arg(long, value_name = "NAME", conflicts_with = "auth_query")]
    auth_header: Option<String>,
    /// The word before the key in its header: `SSWS` for `Authorization: SSWS …`.
    #[arg(long, value_name = "WORD", conflicts_with = "auth_query")]
    auth_prefix: Option<String>,
    /// The query parameter of an API key.
    #[arg(long, value_name = "NAME")]
    auth_query: Option<String>,
    /// Where a person agrees (oauth).
    #[arg(long, value_name = "URL")]
    authorize_url: Option<String>,
    /// Where tokens come from (oauth, client_credentials).
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// A scope that is asked for; may be given several times.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// A documented quota: `100 per 10s`; may be given several times.
    #[arg(long = "quota", value_name = "QUOTA")]
    quotas: Vec<String>,
    /// The path of a small request that succeeds if credentials work.
    #[arg(long, value_name = "PATH")]
    verify: Option<String>,
    #[command(flatten)]
    writing: Writing,
}

const WAYS: [&str; 6] = ["none", "api_key", "bearer", "basic", "oauth", "client_credentials"];

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    super::named(&format!("{}/x", arguments.name), "contacts")?;
    let draft = asked(arguments)?;
    let mut written = files_of_provider(&draft);
    let name = &draft.name;
    let mut next = Vec::new();
    if files::is_project(folder) {
        next.push(format!(
            "headwater providers {name}                                shows the lines for `connections` of headwater.yaml"
        ));
    } else {
        written.extend(files_of_project(&draft));
        written.extend(files::schemas());
    }
    next.extend([
        format!(
            "headwater new sync {name}/contacts --sample answer.json   a list of the API as a table, from one of its answers"
        ),
        format!("headwater connect {name}                                  give an account's secrets, and try them"),
    ]);
    next.push("headwater check                                          find every mistake".to_owned());
    files::write(folder, &written, &arguments.writing, &next)?;
    Ok(0)
}

fn asked(arguments: &Arguments) -> Result<ProviderDraft, Failure> {
    let questions = arguments.writing.questions();
    let base = Question::new(
        "--base-url",
        "base URL",
        "where the API is, with a fixed part such as `/v2`; names in braces are settings of an account: https://{region}.api.acme.com/v2",
    );
    let base_url = questions.needed(&base, arguments.base_url.as_ref())?;
    let (base_url, config) = templated(base_url.trim_end_matches('/'))?;
    let docs = Question::new("--docs", "documentation", "the page where the API's documentation begins");
    let docs = questions.maybe(&docs, arguments.docs.as_ref(), None)?;
    let title = questions.maybe(
        &Question::new("--title", "title", "the API's name for people"),
        arguments.title.as_ref(),
        Some(&arguments.name),
    )?;
    let auth = way(arguments)?;
    let quota =
        Question::new("--quota", "quota", "how many requests may be sent, as the documentation says: 100 per 10s");
    let quotas = match arguments.quotas.as_slice() {
        [] => questions.maybe(&quota, None, None)?.into_iter().collect(),
        given => given.to_vec(),
    };
    let verify = Question::new(
        "--verify",
        "request that shows whether credentials work",
        "a path every account may read and whose answer is small: /me",
    );
    let verify = questions.maybe(&verify, arguments.verify.as_ref(), None)?;
    Ok(ProviderDraft {
        name: arguments.name.clone(),
        title,
        docs,
        base_url: Guess::said(base_url),
        config,
        auth,
        quotas,
        verify,
        notes: Vec::new(),
    })
}

/// The way in, with a name.
fn way(arguments: &Arguments) -> Result<Vec<(String, Guess<Way>)>, Failure> {
    let questions = arguments.writing.questions();
    let kind = Question::new(
        "--auth",
        "way in",
        "api_key: a key in a header or the query; bearer: a token that a person made; oauth: a person agrees in the browser; client_credentials: an id and a secret for a token",
    );
    let kind = match (&arguments.auth, &arguments.auth_header, &arguments.auth_query) {
        (None, Some(_), _) | (None, _, Some(_)) => "api_key".to_owned(),
        (given, _, _) => {
            if given.is_none() && !questions.is_asked() {
                questions.needed(&kind, None)?;
            }
            questions.choice(&kind, given.as_ref(), &WAYS, "bearer")?
        }
    };
    let url = |flag, asks, given: Option<&String>| {
        questions.needed(&Question::new(flag, asks, "the whole URL, as the documentation of OAuth says it"), given)
    };
    let keyed = |name| Way::Header { name, prefix: arguments.auth_prefix.clone() };
    let way = match kind.as_str() {
        "none" => Guess::said(Way::None),
        "api_key" => match (&arguments.auth_header, &arguments.auth_query) {
            (_, Some(query)) => Guess::said(Way::Query(query.clone())),
            (Some(header), None) => Guess::said(keyed(header.clone())),
            (None, None) => {
                let header = Question::new(
                    "--auth-header",
                    "header of the key",
                    "the header that takes the key; a parameter of the query is `--auth-query`",
                );
                let header = questions.maybe(&header, None, Some("X-Api-Key"))?.unwrap_or_default();
                match questions.is_asked() {
                    true => Guess::said(keyed(header)),
                    false => Guess::guessed(keyed(header), "no header was named (`--auth-header`)"),
                }
            }
        },
        "basic" => Guess::said(Way::Basic),
        "oauth" => Guess::said(Way::AuthorizationCode {
            authorize_url: url("--authorize-url", "URL where a person agrees", arguments.authorize_url.as_ref())?,
            token_url: url("--token-url", "URL for tokens", arguments.token_url.as_ref())?,
            scopes: arguments.scopes.clone(),
        }),
        "client_credentials" => Guess::said(Way::ClientCredentials {
            token_url: url("--token-url", "URL for tokens", arguments.token_url.as_ref())?,
            scopes: arguments.scopes.clone(),
        }),
        _ => Guess::said(Way::Bearer),
    };
    let name = match &way.value {
        Way::None => "none",
        Way::Header { .. } | Way::Query(_) | Way::Cookie(_) => "key",
        Way::Basic => "password",
        Way::Bearer => "token",
        Way::AuthorizationCode { .. } => "oauth",
        Way::ClientCredentials { .. } => "application",
    };
    Ok(vec![(name.to_owned(), way)])
}

/// A base URL whose names in braces are settings.
fn templated(url: &str) -> Result<(String, Vec<Setting>), Failure> {
    let wrong = || {
        let hint =
            "write it whole: `https://api.acme.com/v2`, or with names of settings: `https://{region}.api.acme.com`";
        Failure::user(format!("`{url}` cannot be a base URL"), Some(hint.to_owned()))
    };
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return Err(wrong());
    }
    let (mut out, mut rest, mut settings) = (String::new(), url, Vec::<Setting>::new());
    while let Some(at) = rest.find(['{', '}']) {
        let (name, behind) = rest[at..].strip_prefix('{').and_then(|rest| rest.split_once('}')).ok_or_else(wrong)?;
        let name = column_name(name);
        out.push_str(&rest[..at]);
        out.push_str(&format!("{{{{ config.{name} }}}}"));
        if !settings.iter().any(|setting| setting.name == name) {
            let schema = serde_json::json!({ "type": "string" });
            settings.push(Setting { example: format!("some-{name}").into(), name, schema, required: true });
        }
        rest = behind;
    }
    out.push_str(rest);
    Ok((out, settings))
}
