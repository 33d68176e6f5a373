//! Signatures: JSON Web Tokens, OAuth 1.0a, AWS Signature Version 4. The time, nonces and keys are arguments.

mod jwt;
mod oauth1;
mod pem;
mod sigv4;

pub(crate) use jwt::{fitting_algorithm, jwt, timed, verified};
pub(crate) use oauth1::{Oauth1Keys, authorization};
pub(crate) use sigv4::{Sigv4Keys, headers, with_query_as_signed};
