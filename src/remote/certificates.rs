//! The certificates of a connection: the one that proves who asks, and the authority that is trusted besides the usual ones.

use std::fmt;

use minijinja::Value;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretString};

use crate::plan::{Template, TlsPlan};

/// What `tls` of a provider renders to.
#[derive(Clone)]
pub(super) struct Certificates {
    identity: reqwest::Identity,
    authorities: Vec<reqwest::Certificate>,
}

impl Certificates {
    /// Renders the templates of `plan` and reads the PEM (RFC 7468) in them. Line ends may stand as `\n` in two characters.
    ///
    /// # Errors
    /// What is not as it must be. The text quotes nothing of the values, but may hold what a template's error says: redact it.
    pub fn new(plan: &TlsPlan, variables: &Value) -> Result<Self, String> {
        let TlsPlan { client_certificate, client_key, authority } = plan;
        let certificate = render("client_certificate", client_certificate, variables)?;
        let given = client_key.as_ref().map(|template| render("client_key", template, variables)).transpose()?;
        let (key_word, key) = match &given {
            Some(key) => ("client_key", key),
            None => ("client_certificate", &certificate),
        };
        let chain = certificates("client_certificate", &certificate)?;
        fits(chain, key_word, &private_key(key_word, key)?)?;
        let both = match &given {
            Some(key) => format!("{}\n{}", certificate.expose_secret(), key.expose_secret()),
            None => certificate.expose_secret().to_owned(),
        };
        let both = SecretString::from(both);
        let identity = reqwest::Identity::from_pem(both.expose_secret().as_bytes()).map_err(|_| {
            "tls `client_certificate`: there is more in it than certificates and one private key".to_owned()
        })?;
        let mut authorities = Vec::new();
        if let Some(template) = authority {
            let mut store = RootCertStore::empty();
            for one in certificates("authority", &render("authority", template, variables)?)? {
                let der = reqwest::Certificate::from_der(&one);
                store.add(one).map_err(|_| broken("authority"))?;
                authorities.push(der.map_err(|_| broken("authority"))?);
            }
        }
        Ok(Self { identity, authorities })
    }

    /// Sockets that show the certificate and trust the authority.
    pub fn put_into(&self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        builder.identity(self.identity.clone()).tls_certs_merge(self.authorities.iter().cloned())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn render(word: &str, template: &Template, variables: &Value) -> Result<SecretString, String> {
    match template.render(variables) {
        Ok(Some(text)) => Ok(text.replace("\\n", "\n").into()),
        Ok(None) => Err(format!("tls `{word}`: `{}` has no value", template.text())),
        Err(error) => Err(format!("tls `{word}`: {error}")),
    }
}

fn certificates(word: &str, text: &SecretString) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(text.expose_secret().as_bytes()).collect::<Result<Vec<_>, pem::Error>>();
    let all = all.map_err(|_| no_pem(word))?;
    if !all.is_empty() {
        return Ok(all);
    }
    if text.expose_secret().contains("-----BEGIN ") {
        Err(format!("tls `{word}`: there is no certificate in it (`-----BEGIN CERTIFICATE-----`)"))
    } else {
        Err(no_pem(word))
    }
}

fn private_key(word: &str, text: &SecretString) -> Result<PrivateKeyDer<'static>, String> {
    let text = text.expose_secret();
    if text.contains("ENCRYPTED") {
        return Err(format!("tls `{word}`: the private key is encrypted; give it without its password"));
    }
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if text.contains("-----BEGIN ") => {
            Err(format!("tls `{word}`: there is no private key in it (`-----BEGIN PRIVATE KEY-----`)"))
        }
        Err(_) => Err(no_pem(word)),
    }
}

/// Whether the key is the one of the first certificate.
fn fits(chain: Vec<CertificateDer<'static>>, key_word: &str, key: &PrivateKeyDer<'static>) -> Result<(), String> {
    let key = ring::sign::any_supported_type(key)
        .map_err(|_| format!("tls `{key_word}`: the private key is broken, or of a kind that TLS does not use"))?;
    match CertifiedKey::new(chain, key).keys_match() {
        Ok(()) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(format!("tls `{key_word}`: the private key does not belong to the first certificate"))
        }
        Err(_) => Err(broken("client_certificate")),
    }
}

fn no_pem(word: &str) -> String {
    format!("tls `{word}`: this is not PEM, which begins with a line `-----BEGIN …-----`")
}

fn broken(word: &str) -> String {
    format!("tls `{word}`: a certificate in it is broken")
}
