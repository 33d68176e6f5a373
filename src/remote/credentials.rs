//! The secrets of one connection, read from where the project says they are: the environment, the files, the credential store.

use std::collections::BTreeMap;
use std::env::VarError;
use std::fmt;
use std::sync::Arc;

use minijinja::context;
use minijinja::value::{Object, Serde, Value};
use secrecy::{ExposeSecret, SecretString};

use super::error::{Error, MissingCredential};
use crate::plan::{ConnectionPlan, CredentialSource};

/// Name to secret. Cheap to clone; `Debug` shows the names only.
#[derive(Clone, Default)]
pub struct Credentials(Arc<BTreeMap<String, SecretString>>);

impl Credentials {
    /// Reads all the credentials of a connection; `kept` are those that the credential store has of it.
    ///
    /// # Errors
    /// [`Error::Credentials`] with every environment variable that is not set, empty, or no UTF-8; [`Error::NotConnected`] with all that
    /// should be kept and are not.
    pub(super) fn resolve(connection: &ConnectionPlan, kept: &BTreeMap<String, SecretString>) -> Result<Self, Error> {
        Self::resolve_with(connection, kept, read_environment)
    }

    /// The names of the credentials that the files leave to the credential store.
    pub fn wanted(connection: &ConnectionPlan) -> Vec<String> {
        let kept = connection.credentials.iter().filter(|(_, source)| matches!(source, CredentialSource::Kept));
        kept.map(|(name, _)| name.clone()).collect()
    }

    fn resolve_with(
        connection: &ConnectionPlan,
        kept: &BTreeMap<String, SecretString>,
        variable: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<Self, Error> {
        let mut secrets = kept.clone();
        let (mut missing, mut unkept) = (Vec::new(), Vec::new());
        for (credential, source) in &connection.credentials {
            match given(credential, source, &variable) {
                Ok(Some(secret)) => drop(secrets.insert(credential.clone(), secret)),
                Ok(None) if kept.contains_key(credential) => {}
                Ok(None) => unkept.push(credential.clone()),
                Err(problem) => missing.push(problem),
            }
        }
        if !missing.is_empty() {
            return Err(Error::Credentials { connection: connection.name.clone(), missing });
        }
        if !unkept.is_empty() {
            let names: Vec<_> = unkept.iter().map(|name| format!("`{name}`")).collect();
            let reason = format!("nobody has given its {} yet", names.join(", "));
            return Err(Error::NotConnected { connection: connection.name.clone(), reason });
        }
        Ok(Self(Arc::new(secrets)))
    }

    /// These and more, which win.
    pub(super) fn and(&self, more: &BTreeMap<String, SecretString>) -> Self {
        let all = self.0.iter().chain(more).map(|(name, secret)| (name.clone(), secret.clone()));
        Self(Arc::new(all.collect()))
    }

    /// Whether there is one of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Credentials from names and values, for tests and the demo.
    pub fn from_pairs<N: Into<String>, S: Into<String>>(pairs: impl IntoIterator<Item = (N, S)>) -> Self {
        let secrets = pairs.into_iter().map(|(name, secret)| (name.into(), SecretString::from(secret.into())));
        Self(Arc::new(secrets.collect()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The variable `credentials` of a template. It prints as `***` and has no list of its members.
    pub(super) fn variable(&self) -> Value {
        Value::from_object(Variable(Arc::clone(&self.0)))
    }

    /// All that the templates of `auth` and `tls` may name: the secrets and the connection's settings.
    pub(super) fn with_settings(&self, connection: &ConnectionPlan) -> Value {
        context! {
            config => Value::from(Serde(&connection.config)),
            connection => context! { name => connection.name.as_str() },
            credentials => self.variable(),
        }
    }

    /// Those whose names say that they are secrets: `client_secret`, but not `client_id`, which APIs may tell and people may keep as a setting.
    pub(super) fn surely_secret(&self) -> impl Iterator<Item = &str> {
        let is_secret = |name: &str| {
            let name = name.to_ascii_lowercase();
            !name.ends_with("id") && ["secret", "token", "pass", "key"].iter().any(|word| name.contains(word))
        };
        self.0.iter().filter(move |(name, _)| is_secret(name)).map(|(_, secret)| secret.expose_secret())
    }

    /// All of them with their names.
    pub(super) fn named(&self) -> impl Iterator<Item = (String, SecretString)> {
        self.0.iter().map(|(name, secret)| (name.clone(), secret.clone()))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(ExposeSecret::expose_secret)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|name| (name, format_args!("***")))).finish()
    }
}

/// A secret that is no connection's: `name` says what it is of.
///
/// # Errors
/// The environment variable has no value. Nothing is kept of it in a credential store, where it would be looked for in vain.
pub fn secret(name: &str, source: &CredentialSource) -> Result<Option<SecretString>, MissingCredential> {
    given(name, source, &read_environment)
}

/// The secret that stands in the files or in the environment; none where it is kept.
fn given(
    credential: &str,
    source: &CredentialSource,
    variable: &impl Fn(&str) -> Result<String, VarError>,
) -> Result<Option<SecretString>, MissingCredential> {
    let (name, problem) = match source {
        CredentialSource::Kept => return Ok(None),
        CredentialSource::Literal(secret) => return Ok(Some(secret.clone())),
        CredentialSource::Environment(name) => match variable(name) {
            Ok(text) if text.is_empty() => (name, "is empty"),
            Ok(text) => return Ok(Some(SecretString::from(text))),
            Err(VarError::NotPresent) => (name, "is not set"),
            Err(VarError::NotUnicode(_)) => (name, "is not UTF-8"),
        },
    };
    Err(MissingCredential { credential: credential.to_owned(), variable: name.clone(), problem })
}

struct Variable(Arc<BTreeMap<String, SecretString>>);

impl Object for Variable {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?).map(|secret| Value::from(secret.expose_secret()))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A secret that belongs to no connection.
///
/// # Errors
/// It is not there: why, in words.
pub(super) fn secret_of(source: &CredentialSource) -> Result<SecretString, String> {
    match source {
        CredentialSource::Literal(secret) => Ok(secret.clone()),
        CredentialSource::Environment(name) => match read_environment(name) {
            Ok(text) if text.is_empty() => Err(format!("the environment variable `{name}` is empty")),
            Ok(text) => Ok(text.into()),
            Err(VarError::NotPresent) => Err(format!("the environment variable `{name}` is not set")),
            Err(VarError::NotUnicode(_)) => Err(format!("the environment variable `{name}` is not UTF-8")),
        },
        CredentialSource::Kept => Err("the credential store keeps none".to_owned()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where credentials come from the environment")]
fn read_environment(name: &str) -> Result<String, VarError> {
    std::env::var(name)
}

#[cfg(test)]
mod tests {
    use super::super::client::sample;
    use super::*;
    use crate::plan::Template;

    fn connection(sources: &[(&str, CredentialSource)]) -> ConnectionPlan {
        let credentials = sources.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect();
        ConnectionPlan { credentials, ..sample::connection("https://api.example.com") }
    }

    fn environment(name: &str) -> CredentialSource {
        CredentialSource::Environment(name.to_owned())
    }

    #[test]
    fn values_come_from_the_environment_and_from_the_project() {
        let connection =
            connection(&[("key", environment("ACME_KEY")), ("user", CredentialSource::Literal("me".into()))]);
        let credentials = Credentials::resolve_with(&connection, &BTreeMap::new(), |name| {
            assert_eq!(name, "ACME_KEY");
            Ok("s3cr3t-value".to_owned())
        });
        let credentials = credentials.expect("both are there");
        let template = Template::parse("{{ credentials.user }}:{{ credentials.key }}").expect("parses");
        let variables = minijinja::context! { credentials => credentials.variable() };
        assert_eq!(template.render(&variables).expect("renders").as_deref(), Some("me:s3cr3t-value"));
        assert_eq!(format!("{credentials:?}"), r#"{"key": ***, "user": ***}"#);
        assert!(!format!("{:?} {}", credentials.variable(), credentials.variable()).contains("s3cr3t"));
    }

    #[test]
    fn the_process_environment_is_read() {
        let found =
            Credentials::resolve(&connection(&[("path", environment("PATH"))]), &BTreeMap::new()).expect("PATH is set");
        assert_eq!(found.values().count(), 1);
        assert!(
            Credentials::resolve(&connection(&[("key", environment("HEADWATER_NO_SUCH_VARIABLE"))]), &BTreeMap::new())
                .is_err()
        );
    }

    #[test]
    fn all_that_is_missing_is_named_with_what_to_do() {
        let connection = connection(&[
            ("empty", environment("ACME_EMPTY")),
            ("fine", environment("ACME_FINE")),
            ("gone", environment("ACME_GONE")),
        ]);
        let error = Credentials::resolve_with(&connection, &BTreeMap::new(), |name| match name {
            "ACME_EMPTY" => Ok(String::new()),
            "ACME_FINE" => Ok("x".to_owned()),
            _ => Err(VarError::NotPresent),
        });
        let error = error.expect_err("two are missing");
        assert_eq!(
            error.to_string(),
            "connection `sample`: credential `empty` needs the environment variable `ACME_EMPTY`, which is empty; \
             credential `gone` needs the environment variable `ACME_GONE`, which is not set"
        );
        assert_eq!(error.hint().as_deref(), Some("set it before the run: `export ACME_EMPTY=…`, `export ACME_GONE=…`"));
        assert!(!error.is_temporary());
    }

    #[test]
    fn a_template_that_takes_all_credentials_gets_none() {
        let credentials = Credentials::from_pairs([("key", "s3cr3t-value")]);
        let variables = minijinja::context! { credentials => credentials.variable() };
        for text in
            ["{{ credentials }}", "{{ credentials | json }}", "a {{ credentials }}", "{{ credentials | items }}"]
        {
            let rendered = Template::parse(text).expect("parses").value(&variables);
            assert!(!format!("{rendered:?}").contains("s3cr3t"), "{text}: {rendered:?}");
        }
    }
}
