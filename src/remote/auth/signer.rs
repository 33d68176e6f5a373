//! Signs each request by itself: OAuth 1.0a (RFC 5849) and AWS Signature Version 4.

use chrono::{DateTime, Utc};
use minijinja::Value;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::super::random;
use super::super::sign::{Oauth1Keys, Sigv4Keys, authorization, headers, with_query_as_signed};
use super::proof::{render, secret_value};
use crate::plan::{MadeAuth, Signature, percent_encoded};

/// The keys of a signature, ready to sign with.
pub(in crate::remote) enum Signer {
    Oauth1 {
        consumer_key: String,
        consumer_secret: SecretString,
        token: String,
        token_secret: SecretString,
        signature: Signature,
        realm: Option<String>,
    },
    Sigv4 {
        access_key_id: String,
        secret_access_key: SecretString,
        session_token: Option<SecretString>,
        region: String,
        service: String,
    },
}

impl Signer {
    /// Renders the keys of `plan`, which must be one of the two kinds.
    ///
    /// # Errors
    /// A template without a value. The text may quote a secret: redact it.
    pub fn new(plan: &MadeAuth, variables: &Value) -> Result<Self, String> {
        match plan {
            MadeAuth::Oauth1 { consumer_key, consumer_secret, token, token_secret, signature, realm } => {
                let text = |template| render("oauth1", template, variables);
                Ok(Self::Oauth1 {
                    consumer_key: text(consumer_key)?,
                    consumer_secret: text(consumer_secret)?.into(),
                    token: text(token)?,
                    token_secret: text(token_secret)?.into(),
                    signature: *signature,
                    realm: realm.as_ref().map(text).transpose()?,
                })
            }
            MadeAuth::Sigv4 { access_key_id, secret_access_key, session_token, region, service } => {
                let text = |template| render("sigv4", template, variables);
                Ok(Self::Sigv4 {
                    access_key_id: text(access_key_id)?,
                    secret_access_key: text(secret_access_key)?.into(),
                    session_token: session_token.as_ref().map(text).transpose()?.map(SecretString::from),
                    region: text(region)?,
                    service: service.clone(),
                })
            }
            MadeAuth::AuthorizationCode { .. }
            | MadeAuth::ClientCredentials { .. }
            | MadeAuth::JwtBearer { .. }
            | MadeAuth::Jwt { .. }
            | MadeAuth::GithubApp { .. }
            | MadeAuth::TokenRequest { .. } => Err("this way in signs no requests".to_owned()),
        }
    }

    /// What must not be printed; for the signature `PLAINTEXT` (RFC 5849, 3.4.4) as they are sent too.
    pub fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::Oauth1 { consumer_secret, token_secret, .. } => [consumer_secret, token_secret]
                .into_iter()
                .flat_map(|secret| [secret.clone(), percent_encoded(secret.expose_secret()).into()])
                .collect(),
            Self::Sigv4 { secret_access_key, session_token, .. } => {
                std::iter::once(secret_access_key).chain(session_token).cloned().collect()
            }
        }
    }

    /// Adds the signature of the request as it will be sent. The URL is changed where its spelling is signed.
    ///
    /// # Errors
    /// A header that cannot be sent. The text may quote a secret: redact it.
    pub fn sign(
        &self,
        method: &str,
        url: &mut Url,
        sent: &mut HeaderMap,
        body: &[u8],
        at: DateTime<Utc>,
    ) -> Result<(), String> {
        match self {
            Self::Oauth1 { consumer_key, consumer_secret, token, token_secret, signature, realm } => {
                let keys = Oauth1Keys {
                    consumer_key,
                    consumer_secret: consumer_secret.expose_secret(),
                    token,
                    token_secret: token_secret.expose_secret(),
                    signature: *signature,
                    realm: realm.as_deref(),
                };
                // RFC 5849, 3.4.1.3.1: the parameters of a form are signed, those of other bodies are not
                let is_form = sent
                    .get(CONTENT_TYPE)
                    .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
                // letters and digits, 20 to 30 of them: all that some servers take
                let nonce = random::digits::<15>();
                let header = authorization(&keys, method, url, is_form.then_some(body), at.timestamp(), &nonce);
                sent.insert(AUTHORIZATION, secret_value("authorization", &header)?);
            }
            Self::Sigv4 { access_key_id, secret_access_key, session_token, region, service } => {
                let keys = Sigv4Keys {
                    access_key_id,
                    secret_access_key: secret_access_key.expose_secret(),
                    session_token: session_token.as_ref().map(ExposeSecret::expose_secret),
                    region,
                    service,
                };
                *url = with_query_as_signed(url);
                // what a proxy or the client itself may change is left out of the signature
                let is_signed = |name: &HeaderName| name == CONTENT_TYPE || name.as_str().starts_with("x-amz-");
                let signed = sent.iter().filter(|(name, _)| is_signed(name));
                let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
                let signed: Vec<_> = signed.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
                for (name, value) in headers(&keys, method, url, &signed, body, at) {
                    sent.insert(HeaderName::from_static(name), secret_value(name, &value)?);
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Oauth1 { .. } => "Signer(oauth1)",
            Self::Sigv4 { .. } => "Signer(sigv4)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_what_strict_servers_take_and_never_the_same() {
        let signer = Signer::Oauth1 {
            consumer_key: "key".to_owned(),
            consumer_secret: "secret".into(),
            token: "token".to_owned(),
            token_secret: "secret".into(),
            signature: Signature::HmacSha256,
            realm: None,
        };
        let nonces: std::collections::BTreeSet<String> = (0..100)
            .map(|_| {
                let (mut url, mut sent) = (Url::parse("https://a.example/").unwrap(), HeaderMap::new());
                signer.sign("GET", &mut url, &mut sent, b"", DateTime::UNIX_EPOCH).unwrap();
                let header = sent[AUTHORIZATION].to_str().unwrap();
                header.split_once("oauth_nonce=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
            })
            .collect();
        assert_eq!(nonces.len(), 100);
        for nonce in nonces {
            assert!(
                (20..=30).contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "{nonce}"
            );
        }
    }
}
