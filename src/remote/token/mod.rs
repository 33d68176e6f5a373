//! Token requests and their answers (RFC 6749). How they are sent and kept is not decided here; the time and random texts are
//! arguments.

mod answer;
mod authorize;
mod path;
mod request;

pub(crate) use answer::{Granted, RefusedKind, is_temporary, read};
pub(crate) use authorize::{Authorize, authorize_url, redirected, shown};
pub(crate) use path::first;
pub(crate) use request::{ClientParts, Grant, Signing, TokenRequest, device_request, token_request};
