pub(super) mod ask;
mod loopback;
mod project_file;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, json};
use url::{Host, Url};

use super::output::{DIM, Failure, json_line, moment, plain, visible};
use super::{Done, project};
use crate::engine;
use crate::files;
use crate::plan::{ConnectionPlan, limits};
use crate::remote::{Access, Client, Connecting, CredentialStore, Credentials, Entry, NewToken, Secrets};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A connection of `headwater.yaml`, or a provider: a connection to it is added to the file.
    connection: String,
    /// The name of the new connection; without it that of the provider.
    #[arg(long)]
    name: Option<String>,
    /// Which of the provider's ways in the new connection takes.
    #[arg(long)]
    auth: Option<String>,
    /// A setting of the new connection.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// A JSON file with credentials by name; `-` is standard input. They can also stand in the environment, as
    /// `HEADWATER_CREDENTIAL_<NAME>`.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Ask again for credentials that are kept already.
    #[arg(long)]
    replace: bool,
    /// Show a code that is entered on another device, where the API has that.
    #[arg(long, conflicts_with = "paste")]
    device: bool,
    /// Ask for the address that the browser ends at, instead of listening for it: for machines without a browser.
    #[arg(long)]
    paste: bool,
    /// Print the address to open, and open no browser.
    #[arg(long)]
    no_browser: bool,
    /// The port of this machine at which the browser comes back; without it one that is free.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Where the API sends the browser back to, as it is registered there; without it `http://127.0.0.1:<port>/callback`.
    #[arg(long, value_name = "URL")]
    redirect_uri: Option<RedirectUri>,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
}

/// A redirect URI as it was given, since APIs compare it letter by letter (RFC 6749, 3.1.2.3), and as a URL.
#[derive(Debug, Clone)]
struct RedirectUri {
    text: String,
    url: Url,
}

impl FromStr for RedirectUri {
    type Err = url::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { text: text.to_owned(), url: Url::parse(text)? })
    }
}

impl RedirectUri {
    /// Whether it leads to where this program can listen: this machine, without TLS (RFC 8252, 7.3).
    fn is_here(&self) -> bool {
        let is_here = match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address == Ipv4Addr::LOCALHOST,
            Some(Host::Ipv6(_)) | None => false,
        };
        is_here && self.url.scheme() == "http"
    }
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let name = in_project(folder, arguments)?;
    let store = CredentialStore::of_project(folder);
    let connection = connection(folder, &name)?;
    let typed = credentials(&connection, &store, arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(connect(folder, &connection, &store, typed, arguments))
}

/// The connection's name; one that is not in the project file yet is added.
fn in_project(folder: &Path, arguments: &Arguments) -> Result<String, Failure> {
    let wanted = arguments.name.as_ref().unwrap_or(&arguments.connection);
    let text = files::project_text(folder)?;
    if project_file::has_connection(&text, wanted) {
        return Ok(wanted.clone());
    }
    let compiled = project::compiled(folder)?;
    let Some(form) = compiled.forms.get(&arguments.connection) else {
        let known: Vec<_> = compiled.forms.keys().map(String::as_str).collect();
        let hint = crate::diagnostic::suggest(&arguments.connection, known);
        let message = format!("there is neither a connection nor a provider `{}`", arguments.connection);
        return Err(Failure::user(message, hint));
    };
    let auth = match (&arguments.auth, form.auth.as_slice()) {
        (Some(auth), _) => Some(auth.clone()),
        (None, [] | [_]) => None,
        (None, several) if ask::is_interactive() => Some(ask::choice("auth", several)?),
        (None, several) => {
            let hint = format!("name one with `--auth`: {}", several.join(", "));
            return Err(Failure::user(format!("`{}` has several ways in", arguments.connection), Some(hint)));
        }
    };
    let config = ask::settings(form.config.as_ref(), &arguments.settings)?;
    let entry =
        project_file::Entry { name: wanted, provider: &arguments.connection, auth: auth.as_deref(), config: &config };
    let text = project_file::with_connection(&text, &entry)?;
    project::check_with(folder, &text)?;
    files::write_project(folder, &text)?;
    anstream::eprintln!("added `{wanted}` to {}", files::PROJECT_FILE);
    Ok(wanted.clone())
}

/// The plan of a connection; mistakes are printed and end the command.
fn connection(folder: &Path, name: &str) -> Result<Arc<ConnectionPlan>, Failure> {
    let plan = project::plan_to_show(folder)?;
    let found = plan.connections.iter().find(|connection| connection.name == name).cloned();
    found.ok_or_else(|| Failure::user(format!("there is no connection `{name}`"), None))
}

/// The secrets that are not kept yet and stand nowhere else: given beforehand, or typed.
fn credentials(
    connection: &ConnectionPlan,
    store: &CredentialStore,
    arguments: &Arguments,
) -> Result<BTreeMap<String, SecretString>, Failure> {
    let mut given = ask::given(arguments.credentials.as_ref())?;
    let kept: BTreeSet<String> = match store.entries()?.remove(&connection.name) {
        Some(entry) if !arguments.replace && entry.is_of(connection) => entry.credentials.into_iter().collect(),
        Some(_) | None => BTreeSet::new(),
    };
    let mut typed = BTreeMap::new();
    for name in Credentials::wanted(connection) {
        match given.remove(&name) {
            Some(secret) => drop(typed.insert(name, secret)),
            None if kept.contains(&name) => {}
            None => drop(typed.insert(name.clone(), ask::secret(&name)?)),
        }
    }
    Ok(typed)
}

async fn connect(
    folder: &Path,
    connection: &Arc<ConnectionPlan>,
    store: &CredentialStore,
    typed: BTreeMap<String, SecretString>,
    arguments: &Arguments,
) -> Done {
    let clock = engine::system_clock();
    let name = &connection.name;
    // before anybody is asked: what cannot be kept would be lost
    if let Some(problem) = store.status().problem {
        return Err(problem.into());
    }
    let before = store.read(name)?.filter(|(entry, _)| entry.is_of(connection));
    let mut secrets = before.clone().map(|(_, secrets)| secrets).unwrap_or_default();
    secrets.credentials.extend(typed);
    let access = Access::connecting(connection, &secrets, Arc::clone(&clock))?;
    let connecting = Connecting::new(Arc::clone(connection), access)?;
    if (arguments.device || arguments.paste) && !connecting.needs_a_person() {
        let hint = "leave it out: the credentials are enough".to_owned();
        return Err(Failure::user("nobody has to agree to this way in, on whatever device", Some(hint)));
    }
    let token = if connecting.needs_a_person() {
        Some(agreement(&connecting, arguments).await.map_err(|failure| again(name, failure))?)
    } else {
        connecting.token().await.map_err(|error| again(name, error.into()))?
    };
    let now = clock();
    let mut entry = entry(connection, &secrets, now);
    if let Some(NewToken { token, expires_at, facts, scopes }) = token {
        entry.facts.extend(facts);
        if connecting.needs_a_person() {
            entry.scopes = scopes.unwrap_or_else(|| connection.scopes.clone());
            entry.expires_at = expires_at;
            entry.renewable = token.contains_key("refresh_token");
            secrets.token = token;
        }
    }
    let written = {
        // a process that refreshes the token of before would write it over this one
        let _lock = store.lock(name, limits::REFRESH_LOCK_WAIT_MAX)?;
        store.write(name, &entry, &secrets)?
    };
    if let Some(key) = &written.new_key {
        anstream::eprintln!(
            "made a key for the credential store: {} {DIM}(keep a copy: without it the store cannot be opened){DIM:#}",
            key.display()
        );
    }
    // with what came with the token
    let proved = match self::connection(folder, name) {
        Ok(connection) => prove(connection, store, &clock).await,
        Err(failure) => Err(failure),
    };
    match proved {
        Ok(verified) => tell(connection, store, verified, arguments.json),
        Err(failure) => {
            // an agreement is worth keeping: a token of it may have followed by now
            if !connecting.needs_a_person() {
                match before {
                    Some((entry, secrets)) => drop(store.write(name, &entry, &secrets)?),
                    None => drop(store.remove(name)?),
                }
                anstream::eprintln!("nothing new was kept; {DIM}headwater connect {name}{DIM:#} tries again");
            }
            Err(failure)
        }
    }
}

fn entry(connection: &ConnectionPlan, secrets: &Secrets, now: DateTime<Utc>) -> Entry {
    Entry {
        provider: connection.provider.clone(),
        auth: connection.auth_name.clone(),
        facts: Map::new(),
        scopes: Vec::new(),
        connected_at: now,
        updated_at: now,
        expires_at: None,
        renewable: false,
        needs_reconnect: None,
        credentials: secrets.credentials.keys().cloned().collect(),
    }
}

/// Nothing is kept yet that another command could try.
fn again(name: &str, failure: Failure) -> Failure {
    let elsewhere = failure.hint.as_ref().is_some_and(|hint| hint.contains("headwater connections verify"));
    let hint = if elsewhere { Some(format!("run `headwater connect {name}` again")) } else { failure.hint };
    Failure { hint, ..failure }
}

/// A person agrees: here, on another device, or wherever a browser is.
async fn agreement(connecting: &Connecting, arguments: &Arguments) -> Result<NewToken, Failure> {
    if arguments.device {
        if !connecting.has_device_code() {
            let hint = "leave `--device` out, or use `--paste`".to_owned();
            return Err(Failure::user("the provider names no `device_url`", Some(hint)));
        }
        let device = connecting.device().await?;
        anstream::eprintln!("open {} and enter {}", device.url, device.user_code);
        if let Some(url) = &device.complete_url {
            anstream::eprintln!("{DIM}or open this one, which has the code in it: {url}{DIM:#}");
        }
        anstream::eprintln!("waiting for you to agree");
        return Ok(connecting.agreed(device).await?);
    }
    let uri = arguments.redirect_uri.as_ref();
    if arguments.paste || uri.is_some_and(|uri| !uri.is_here()) {
        let redirect_uri = uri.map_or("http://127.0.0.1:8085/callback", |uri| &uri.text);
        let authorization = connecting.authorize(redirect_uri)?;
        anstream::eprintln!(
            "open this address, agree, and copy the address that the browser ends at (it may show an error there):\n\n{}\n",
            authorization.url
        );
        anstream::eprintln!("{DIM}it ends at {redirect_uri}, which the application must be registered with{DIM:#}");
        let pasted = ask::line("the address")?;
        let hint = || Some("paste the whole address, with everything behind the `?`".to_owned());
        let redirected = Url::parse(&pasted).map_err(|_| Failure::user("that is no address", hint()))?;
        return Ok(connecting.exchange(authorization, &redirected).await?);
    }
    let port = uri.and_then(|uri| uri.url.port_or_known_default()).unwrap_or(arguments.port);
    let loopback = loopback::Loopback::listen(port, uri).await?;
    let authorization = connecting.authorize(&loopback.redirect_uri)?;
    anstream::eprintln!("waiting for you to agree in the browser:\n\n{}\n", authorization.url);
    anstream::eprintln!(
        "{DIM}it comes back to {}, which the application must be registered with{DIM:#}",
        loopback.redirect_uri
    );
    if !arguments.no_browser && open::that_detached(authorization.url.as_str()).is_err() {
        anstream::eprintln!("{DIM}no browser could be opened here: open the address yourself, or use `--paste`{DIM:#}");
    }
    let redirected = tokio::time::timeout(limits::CONNECT_WAIT_MAX, loopback.arrives()).await.map_err(|_| {
        Failure::user(format!("nobody came back within {} minutes", limits::CONNECT_WAIT_MAX.as_secs() / 60), None)
    })??;
    Ok(connecting.exchange(authorization, &redirected).await?)
}

/// Verifies the connection as it is kept now, and asks the API for its facts, which are kept too; gives whether there was a request to
/// verify it.
pub(super) async fn prove(
    connection: Arc<ConnectionPlan>,
    store: &CredentialStore,
    clock: &engine::Clock,
) -> Result<bool, Failure> {
    let name = connection.name.clone();
    let access = Access::while_connecting(&connection, store, Arc::clone(clock))?;
    let client = Client::new(connection, access)?;
    let verified = engine::verify(&client, clock()).await?;
    let facts = engine::learn(&client, clock()).await?;
    client.settled().await;
    if !facts.is_empty() {
        store.mark(&name, |entry| entry.facts.extend(facts))?;
    }
    Ok(verified)
}

/// Says what is kept.
fn tell(connection: &ConnectionPlan, store: &CredentialStore, verified: bool, as_json: bool) -> Done {
    let name = &connection.name;
    let entry = store.entries()?.remove(name);
    let Some(entry) = entry else { return Err(Failure::user(format!("`{name}` was disconnected meanwhile"), None)) };
    if as_json {
        json_line(&json!({
            "connection": name, "provider": entry.provider, "auth": entry.auth, "verified": verified,
            "credentials": entry.credentials, "facts": entry.facts, "scopes": entry.scopes,
            "expires_at": entry.expires_at, "renewable": entry.renewable,
        }))?;
        return Ok(0);
    }
    let list = |names: &[String]| names.join(", ");
    let proof = if verified { ", and its API accepts it" } else { "; whether its API accepts it is not known" };
    anstream::println!("connected `{name}`{proof}");
    if !verified {
        anstream::eprintln!("{DIM}the provider names no request to `verify` it with: the first run tells{DIM:#}");
    }
    let mut rows = Vec::new();
    if !entry.credentials.is_empty() {
        rows.push(("credentials", list(&entry.credentials)));
    }
    if !entry.scopes.is_empty() {
        rows.push(("scopes", list(&entry.scopes)));
    }
    for (fact, value) in &entry.facts {
        rows.push(("told by the API", format!("{fact} = {}", plain(value))));
    }
    if let Some(at) = entry.expires_at {
        let renewed = if entry.renewable { ", and is renewed before that" } else { "" };
        rows.push(("token", format!("ends at {}{renewed}", moment(at))));
    } else if entry.renewable {
        rows.push(("token", "is renewed when the API ends it".to_owned()));
    }
    for (what, text) in rows {
        anstream::println!("  {what:16} {}", visible(&text));
    }
    let missing: BTreeSet<&str> = connection.scopes.iter().map(String::as_str).collect();
    let granted: BTreeSet<&str> = entry.scopes.iter().map(String::as_str).collect();
    let missing: Vec<&str> = missing.difference(&granted).copied().collect();
    if !entry.scopes.is_empty() && !missing.is_empty() {
        anstream::eprintln!("note: asked for and not granted: {}", missing.join(", "));
    }
    Ok(0)
}
