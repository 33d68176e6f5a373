//! How a connection proves who asks: with what was given, with a token that is made and made again, or with a signature.

mod maker;
mod proof;
mod session;
mod signer;
mod written;

#[cfg(test)]
pub(super) use maker::Sent;
pub(super) use maker::{Fault, Made, Maker};
pub(super) use proof::{Proof, header_name, plain_value, secret_value};
pub(super) use session::{Keys, Session};
