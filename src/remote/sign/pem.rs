//! Private keys as people give them: PEM (RFC 7468), as it looks after its way through an environment variable.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How the bytes of a key are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `PRIVATE KEY`, RFC 5958: of any kind
    Pkcs8,
    /// `RSA PRIVATE KEY`, RFC 8017
    Pkcs1,
    /// `EC PRIVATE KEY`, RFC 5915
    Sec1,
}

/// A private key out of its PEM, not yet looked into. Not printable.
pub(super) struct PrivateKey {
    layout: Layout,
    der: Vec<u8>,
}

impl PrivateKey {
    /// Reads the first private key of a PEM text; what else stands in it (parameters of the curve, certificates) is passed over.
    /// Line breaks may be LF, CRLF, spaces, the two characters `\n`, or missing; the whole may be in base64.
    ///
    /// # Errors
    /// What the text is instead of a private key that can be used. The key is never quoted.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let text = unquoted(text);
        if text.is_empty() {
            return Err("the private key is empty".to_owned());
        }
        if text.starts_with('{') {
            return Err("the private key is a JSON document; give the PEM text in it, often its member `private_key`"
                .to_owned());
        }
        let text = unpacked(text);
        let mut found = Vec::new();
        for section in text.split(BEGIN).skip(1) {
            let Some((label, body)) = section.split_once("-----") else { continue };
            let layout = match label.trim() {
                "PRIVATE KEY" => Layout::Pkcs8,
                "RSA PRIVATE KEY" => Layout::Pkcs1,
                "EC PRIVATE KEY" => Layout::Sec1,
                label => {
                    found.push(label.to_owned());
                    continue;
                }
            };
            let Some((body, _)) = body.split_once("-----END") else {
                return Err("the private key is cut off: its PEM has no `-----END`".to_owned());
            };
            if body.contains("ENCRYPTED") {
                return Err(ENCRYPTED.to_owned());
            }
            let der = decoded(body).filter(|der| !der.is_empty());
            let der = der.ok_or_else(|| "the private key is damaged: what its PEM holds is no base64".to_owned())?;
            return Ok(Self { layout, der });
        }
        Err(instead(&found))
    }

    /// Whether it is an RSA key, as far as its layout and its head tell.
    pub fn is_rsa(&self) -> bool {
        match self.layout {
            Layout::Pkcs1 => true,
            Layout::Sec1 => false,
            // rsaEncryption (RFC 8017, A.1) stands in the first bytes
            Layout::Pkcs8 => {
                self.der.iter().take(40).copied().collect::<Vec<_>>().windows(RSA.len()).any(|oid| oid == RSA)
            }
        }
    }

    /// The key for RS256.
    ///
    /// # Errors
    /// It is no RSA key, is too short or too long, or is damaged.
    pub fn rsa(&self) -> Result<RsaKeyPair, String> {
        if !self.is_rsa() {
            return Err("the private key is no RSA key, which RS256 needs".to_owned());
        }
        let read = match self.layout {
            Layout::Pkcs1 | Layout::Sec1 => RsaKeyPair::from_der(&self.der),
            Layout::Pkcs8 => RsaKeyPair::from_pkcs8(&self.der),
        };
        read.map_err(|error| match rejected(error).as_str() {
            "TooSmall" => {
                "the RSA key is shorter than 2048 bits, which RS256 does not allow (RFC 7518, 3.3)".to_owned()
            }
            "TooLarge" => "the RSA key is longer than 4096 bits, which headwater cannot sign with".to_owned(),
            "PrivateModulusLenNotMultipleOf512Bits" => {
                "the length of the RSA key is no multiple of 512 bits, which headwater cannot sign with".to_owned()
            }
            _ => "the RSA key is damaged".to_owned(),
        })
    }

    /// The key for ES256.
    ///
    /// # Errors
    /// It is no key of the curve P-256, has no public key beside the private one, or is damaged.
    pub fn p256(&self) -> Result<EcdsaKeyPair, String> {
        if self.is_rsa() {
            return Err("the private key is an RSA key; ES256 needs one of the elliptic curve P-256".to_owned());
        }
        let wrapped: Vec<u8>;
        let pkcs8 = match self.layout {
            Layout::Pkcs8 | Layout::Pkcs1 => self.der.as_slice(),
            Layout::Sec1 => {
                wrapped = in_pkcs8(&self.der).ok_or_else(|| "the EC key is damaged".to_owned())?;
                &wrapped
            }
        };
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new()).map_err(|error| {
            match rejected(error).as_str() {
                "WrongAlgorithm" => {
                    "the private key is not one of the elliptic curve P-256, which ES256 needs".to_owned()
                }
                "InvalidEncoding" | "PublicKeyIsMissing" => "the EC key is damaged, or has no public key in it; \
                     `openssl ec -in key.pem -out whole.pem` writes it with both"
                    .to_owned(),
                _ => "the EC key is damaged".to_owned(),
            }
        })
    }
}

/// A public key out of its PEM.
pub(super) struct PublicKey {
    /// what it holds (RFC 5280, 4.1.2.7), and which of `rsaEncryption` and `id-ecPublicKey` on P-256 says so; none = `RSA PUBLIC KEY`
    head: Option<Vec<u8>>,
    bits: Vec<u8>,
}

impl PublicKey {
    /// Reads the first public key of a PEM text, with line breaks as those of a private one.
    ///
    /// # Errors
    /// What the text is instead. It is never quoted: it may be a private key.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let text = unpacked(unquoted(text));
        for section in text.split(BEGIN).skip(1) {
            let Some((label, body)) = section.split_once("-----") else { continue };
            let is_bare = match label.trim() {
                "PUBLIC KEY" => false,
                "RSA PUBLIC KEY" => true,
                _ => continue,
            };
            let der = body.split_once("-----END").and_then(|(body, _)| decoded(body));
            let damaged = || "the public key is damaged".to_owned();
            let der = der.ok_or_else(damaged)?;
            if is_bare {
                return Ok(Self { head: None, bits: der });
            }
            let found = || {
                let (whole, _) = element(&der, 0x30)?;
                let (head, rest) = element(whole, 0x30)?;
                let (bits, _) = element(rest, 0x03)?;
                // no bit of the last byte is unused
                let (0, bits) = bits.split_first().map(|(unused, bits)| (*unused, bits))? else { return None };
                Some(Self { head: Some(head.to_vec()), bits: bits.to_vec() })
            };
            return found().ok_or_else(damaged);
        }
        Err("what is given as public key is no PEM with `-----BEGIN PUBLIC KEY-----`".to_owned())
    }

    /// The key for RS256, as RFC 8017 writes it.
    ///
    /// # Errors
    /// It is no RSA key.
    pub fn rsa(self) -> Result<Vec<u8>, String> {
        match self.head {
            Some(head) if !head.starts_with(RSA) => Err("the public key is no RSA key, which RS256 needs".to_owned()),
            Some(_) | None => Ok(self.bits),
        }
    }

    /// The key for ES256: a point.
    ///
    /// # Errors
    /// It is no key of the curve P-256.
    pub fn p256(self) -> Result<Vec<u8>, String> {
        // behind the version and the length, as in a private key
        match self.head {
            Some(head) if head == P256_HEAD[5..] => Ok(self.bits),
            Some(_) | None => {
                Err("the public key is not one of the elliptic curve P-256, which ES256 needs".to_owned())
            }
        }
    }
}

/// The content of an element of DER with this tag, and what stands behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (length, rest) = match rest.split_first()? {
        (short @ 0..=0x7f, rest) => (usize::from(*short), rest),
        (0x81, rest) => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        (0x82, rest) => {
            rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?
        }
        _ => return None,
    };
    (*found == tag && length <= rest.len()).then(|| rest.split_at(length))
}

const BEGIN: &str = "-----BEGIN";
const ENCRYPTED: &str = "the private key is encrypted with a password; decrypt it first: \
     `openssl pkey -in key.pem -out plain.pem`";
/// `rsaEncryption`, 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// Version 0, and `id-ecPublicKey` on `prime256v1`: how a private key of P-256 begins in PKCS#8 (RFC 5958, RFC 5480).
const P256_HEAD: &[u8] = &[
    0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];

fn instead(found: &[String]) -> String {
    let has = |word: &str| found.iter().any(|label| label.contains(word));
    let what = if has("ENCRYPTED") {
        return ENCRYPTED.to_owned();
    } else if has("OPENSSH") {
        "a key in the form of OpenSSH; `ssh-keygen -p -m PEM -f key` writes it as PEM"
    } else if has("CERTIFICATE") {
        "a certificate; the private key that belongs to it is needed"
    } else if has("PUBLIC KEY") {
        "a public key; the private key is needed"
    } else if has("DSA") {
        "a DSA key, with which no token is signed"
    } else if found.is_empty() {
        "no PEM: it has no `-----BEGIN PRIVATE KEY-----`"
    } else {
        "PEM of something else: it has no `-----BEGIN PRIVATE KEY-----`"
    };
    format!("what is given as private key is {what}")
}

/// What a variable holds, without the quotes that somebody left around it.
fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\'']).trim()
}

/// A PEM text with line breaks of its own: out of base64, and where they are written as `\n`.
fn unpacked(text: &str) -> String {
    let inner = if text.contains(BEGIN) { None } else { decoded(text).and_then(|bytes| String::from_utf8(bytes).ok()) };
    let inner = inner.filter(|inner| inner.contains(BEGIN));
    inner.as_deref().unwrap_or(text).replace("\\r", "").replace("\\n", "\n")
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let solid: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    BASE64.decode(solid).ok()
}

/// SEC 1 in PKCS#8, the only form that `ring` reads.
fn in_pkcs8(sec1: &[u8]) -> Option<Vec<u8>> {
    let mut inner = P256_HEAD.to_vec();
    inner.push(0x04);
    inner.extend(length(sec1.len())?);
    inner.extend(sec1);
    let mut whole = vec![0x30];
    whole.extend(length(inner.len())?);
    whole.extend(inner);
    Some(whole)
}

/// A length in DER. A key of P-256 has 121 bytes at most, of another curve a few hundred.
fn length(bytes: usize) -> Option<Vec<u8>> {
    let [high, low] = u16::try_from(bytes).ok()?.to_be_bytes();
    Some(match (high, low) {
        (0, 0..=0x7f) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    })
}

fn rejected(error: KeyRejected) -> String {
    error.to_string()
}
