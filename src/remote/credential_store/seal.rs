//! Sealing: ChaCha20-Poly1305 (RFC 8439) with a random nonce, over what is open beside the secrets too.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::entry::Secrets;
use super::error::StoreError;
use super::key::Key;

/// What is sealed is a multiple of this long, so that its length does not tell that of a secret.
const PADDING: usize = 256;

/// Bytes before the JSON of the secrets: its length, little-endian.
const PREFIX: usize = 4;

/// Seals secrets so that only `key` opens them, and only beside the same `open` text. Gives base64 of nonce, ciphertext and tag.
///
/// # Errors
/// [`StoreError::Random`].
pub(super) fn seal(key: &Key, open: &str, secrets: &Secrets) -> Result<String, StoreError> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| StoreError::Random)?;
    // the plaintext is overwritten where it is by the ciphertext
    let mut sealed = padded(secrets);
    let tag = aead(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(open), &mut sealed)
        .expect("ring refuses only what is longer than 256 GiB");
    Ok(STANDARD.encode([nonce.as_slice(), sealed.as_slice(), tag.as_ref()].concat()))
}

/// The secrets, if `sealed` was made by [`seal`] with this key beside this `open` text.
pub(super) fn unseal(key: &Key, open: &str, sealed: &str) -> Option<Secrets> {
    let mut sealed = Zeroizing::new(STANDARD.decode(sealed).ok()?);
    let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let plain = aead(key).open_in_place(nonce, Aad::from(open), sealed).ok()?;
    let (prefix, rest) = plain.split_first_chunk::<PREFIX>()?;
    let length = usize::try_from(u32::from_le_bytes(*prefix)).ok()?;
    let Plain { credentials, token } = serde_json::from_slice(rest.get(..length)?).ok()?;
    let hidden = |values: BTreeMap<String, String>| {
        values.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect()
    };
    Some(Secrets { credentials: hidden(credentials), token: hidden(token) })
}

fn aead(key: &Key) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key.bytes()).expect("a key has 32 bytes"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    credentials: BTreeMap<String, String>,
    token: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Exposed<'a> {
    credentials: BTreeMap<&'a str, &'a str>,
    token: BTreeMap<&'a str, &'a str>,
}

/// Length, JSON, zeros up to a multiple of [`PADDING`].
fn padded(secrets: &Secrets) -> Zeroizing<Vec<u8>> {
    let Secrets { credentials, token } = secrets;
    // a buffer that grows leaves copies behind: six bytes are the most that JSON makes of one
    let longest = |values: &BTreeMap<String, SecretString>| {
        values.iter().map(|(name, value)| (name.len() + value.expose_secret().len()) * 6 + 6).sum::<usize>()
    };
    let room = longest(credentials) + longest(token) + 2 * PADDING;
    let mut plain = Zeroizing::new(Vec::with_capacity(room));
    plain.extend_from_slice(&[0; PREFIX]);
    fn exposed(values: &BTreeMap<String, SecretString>) -> BTreeMap<&str, &str> {
        values.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect()
    }
    let json = Exposed { credentials: exposed(credentials), token: exposed(token) };
    serde_json::to_writer(&mut *plain, &json).expect("a map of texts is JSON, and memory takes it");
    let length = u32::try_from(plain.len() - PREFIX).expect("the file is bounded far below 4 GiB");
    plain[..PREFIX].copy_from_slice(&length.to_le_bytes());
    let whole = plain.len().next_multiple_of(PADDING);
    plain.resize(whole, 0);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(value: &str) -> Secrets {
        Secrets { credentials: [("api_key".to_owned(), value.into())].into(), token: BTreeMap::new() }
    }

    fn value(secrets: &Secrets) -> &str {
        secrets.credentials["api_key"].expose_secret()
    }

    #[test]
    fn only_the_key_and_the_text_beside_it_open_it() {
        let (key, other) = (Key::generate().expect("random"), Key::generate().expect("random"));
        let sealed = seal(&key, "beside", &secrets("s3cr3t \"ü\u{0}")).expect("sealed");
        assert_eq!(unseal(&key, "beside", &sealed).as_ref().map(value), Some("s3cr3t \"ü\u{0}"));
        assert!(unseal(&other, "beside", &sealed).is_none());
        assert!(unseal(&key, "beside ", &sealed).is_none());
        for length in 0..sealed.len() {
            assert!(unseal(&key, "beside", &sealed[..length]).is_none(), "{length}");
        }
        assert_ne!(
            seal(&key, "beside", &secrets("s3cr3t")).unwrap(),
            seal(&key, "beside", &secrets("s3cr3t")).unwrap()
        );
    }

    #[test]
    fn its_length_tells_only_the_multiple() {
        let key = Key::generate().expect("random");
        let length = |secret: usize| {
            STANDARD.decode(seal(&key, "", &secrets(&"x".repeat(secret))).expect("sealed")).expect("base64").len()
        };
        assert_eq!(length(1), NONCE_LEN + PADDING + 16);
        assert_eq!(length(1), length(150));
        assert_eq!(length(250), length(400));
        assert_eq!((length(20_000) - NONCE_LEN - 16) % PADDING, 0);
    }
}
