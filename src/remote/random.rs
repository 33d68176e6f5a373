//! Random texts: nonces, states and verifiers that nobody can guess.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use crate::plan::hex;

/// `N` random bytes from the operating system as URL-safe base64 without padding.
pub(super) fn text<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<N>())
}

/// `N` random bytes from the operating system in hexadecimal, for readers that take letters and digits alone.
pub(super) fn digits<const N: usize>() -> String {
    hex(bytes::<N>())
}

/// A key that nobody else has, for a request that may come twice.
pub fn random_key() -> String {
    digits::<16>()
}

/// Random bytes from the operating system, for a key that is thrown away.
pub fn random_bytes() -> [u8; 32] {
    bytes::<32>()
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random numbers");
    bytes
}
