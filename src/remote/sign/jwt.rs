//! JSON Web Tokens (RFC 7519) as compact JWS (RFC 7515).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, EcdsaKeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::pem::{PrivateKey, PublicKey};
use crate::plan::Algorithm;

/// How far `iat` lies in the past at most, for servers whose clock is behind.
const SKEW: Duration = Duration::from_secs(30);

/// A signed token: `header.claims.signature`. `key` is a private key in PEM, or the secret itself for HS256. `header` are further
/// members of the header beside `alg` and `typ`; one of the name `typ` stands for `JWT`.
///
/// # Errors
/// What is wrong with the key or the header, as a fragment for people. It never quotes the key.
pub(crate) fn jwt(
    algorithm: Algorithm,
    key: &str,
    header: &[(String, String)],
    claims: &Map<String, Value>,
) -> Result<SecretString, String> {
    let key = Key::new(algorithm, key)?;
    let mut members = Map::new();
    members.insert("alg".to_owned(), name(algorithm).into());
    members.insert("typ".to_owned(), "JWT".into());
    for (member, value) in header {
        if member == "alg" && value != name(algorithm) {
            return Err(format!(
                "the header of the token names another `alg` than {}, by which it is signed",
                name(algorithm)
            ));
        }
        members.insert(member.clone(), value.as_str().into());
    }
    let part = |members: &Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(members.clone()).to_string());
    let mut token = format!("{}.{}", part(&members), part(claims));
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok(token.into())
}

/// The claims of a token whose signature is right, by this algorithm and no other, and whose time (`nbf`, `exp`: RFC 7519, 4.1) is now, give
/// or take a little. `key` is a public key in PEM, or the secret itself for HS256.
///
/// # Errors
/// The outer: what is wrong with the key, as a fragment for people, which never quotes it. The inner: what is wrong with the token.
pub(crate) fn verified(
    algorithm: Algorithm,
    key: &str,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Result<Map<String, Value>, &'static str>, String> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return Ok(Err("it is no signed token")) };
    let object = |part: &str| match serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()? {
        Value::Object(members) => Some(members),
        _ => None,
    };
    let text = &token.as_bytes()[..header.len() + 1 + claims.len()];
    let (Some(header), Ok(signature)) = (object(header), URL_SAFE_NO_PAD.decode(signature)) else {
        return Ok(Err("it is no signed token"));
    };
    let right = match algorithm {
        Algorithm::Hs256 => match Key::new(algorithm, key)? {
            Key::Secret(key) => hmac::verify(&key, text, &signature).is_ok(),
            Key::Rsa(_) | Key::P256(_) => false,
        },
        Algorithm::Rs256 => {
            let key = PublicKey::from_pem(key)?.rsa()?;
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(text, &signature).is_ok()
        }
        Algorithm::Es256 => {
            let key = PublicKey::from_pem(key)?.p256()?;
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(text, &signature).is_ok()
        }
    };
    // whoever sends it does not choose how it is checked
    if !right || header.get("alg").and_then(Value::as_str) != Some(name(algorithm)) || header.contains_key("crit") {
        return Ok(Err("its signature is not right"));
    }
    let Some(claims) = object(claims) else { return Ok(Err("it has no claims")) };
    let (now, skew) = (now.timestamp() as f64, SKEW.as_secs_f64());
    let time = |name: &str| claims.get(name).map(|at| at.as_f64().unwrap_or(f64::NAN));
    // what is no time fits no comparison
    if !time("exp").is_none_or(|at| now < at + skew) {
        return Ok(Err("it is too old"));
    }
    if !time("nbf").is_none_or(|at| now >= at - skew) {
        return Ok(Err("its time has not come"));
    }
    Ok(Ok(claims))
}

/// The claims with `iat`, `exp` and, where given, `jti` (RFC 7519, 4.1); those that are there already stay. `exp` is one `lifetime`
/// after `iat`, so that an API which allows an hour gets an hour; `iat` is a little in the past, but never more than a tenth of the
/// lifetime.
pub(crate) fn timed(
    mut claims: Map<String, Value>,
    now: DateTime<Utc>,
    lifetime: Duration,
    jti: Option<&str>,
) -> Map<String, Value> {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let issued = now.timestamp().saturating_sub(seconds(SKEW.min(lifetime / 10)));
    let added = [
        ("iat", Some(Value::from(issued))),
        ("exp", Some(Value::from(issued.saturating_add(seconds(lifetime))))),
        ("jti", jti.map(Value::from)),
    ];
    for (name, value) in added {
        if let Some(value) = value
            && !claims.contains_key(name)
        {
            claims.insert(name.to_owned(), value);
        }
    }
    claims
}

/// The algorithm that a private key in PEM is for: RS256 for an RSA key, ES256 for another.
///
/// # Errors
/// The text is no private key. It is never quoted.
pub(crate) fn fitting_algorithm(key: &str) -> Result<Algorithm, String> {
    Ok(if PrivateKey::from_pem(key)?.is_rsa() { Algorithm::Rs256 } else { Algorithm::Es256 })
}

/// RFC 7518, 3.1.
fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Rs256 => "RS256",
        Algorithm::Es256 => "ES256",
        Algorithm::Hs256 => "HS256",
    }
}

/// A key that is ready to sign. Not printable.
enum Key {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Secret(hmac::Key),
}

impl Key {
    fn new(algorithm: Algorithm, text: &str) -> Result<Self, String> {
        match algorithm {
            Algorithm::Rs256 => Ok(Self::Rsa(Box::new(PrivateKey::from_pem(text)?.rsa()?))),
            Algorithm::Es256 => Ok(Self::P256(PrivateKey::from_pem(text)?.p256()?)),
            Algorithm::Hs256 if text.is_empty() => Err("the secret for HS256 is empty".to_owned()),
            Algorithm::Hs256 if text.ends_with(['\r', '\n']) => {
                Err("the secret for HS256 ends with a line break; was it read from a file?".to_owned())
            }
            Algorithm::Hs256 => Ok(Self::Secret(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()))),
        }
    }

    /// RFC 7515, 5.1. `ring` blinds RSA with random numbers, which does not show in the signature, and takes one for each of ECDSA,
    /// so that two signatures of the same text are never alike.
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let done = key.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature);
                done.map(|()| signature).map_err(|_| FAILED.to_owned())
            }
            Self::P256(key) => {
                key.sign(&random, text).map(|signature| signature.as_ref().to_vec()).map_err(|_| FAILED.to_owned())
            }
            Self::Secret(key) => Ok(hmac::sign(key, text).as_ref().to_vec()),
        }
    }
}

const FAILED: &str =
    "the token could not be signed: the private key does not fit together, or the system has no random numbers";

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
