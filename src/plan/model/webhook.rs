use std::time::Duration;

use crate::plan::request::request_names;
use crate::plan::{Algorithm, Path, RequestPlan, Template, ValuePlan};

/// How the notifications of an API are received.
#[derive(Debug, Clone)]
pub struct WebhooksPlan {
    /// how a delivery proves that it is the API's own
    pub verify: WebhookVerify,
    /// a question whether somebody listens, and its answer
    pub handshake: Option<(Template, RespondPlan)>,
    /// where the events of a delivery stand; none = the body is the one event
    pub events: Option<Path>,
    /// what kind of event it is
    pub kind: Option<Template>,
    /// the event's id
    pub id: Option<Template>,
    /// settings by name, and where their values stand in the event; none = each connection has an address of its own
    pub matches: Option<Vec<(String, Path)>>,
}

/// How a delivery proves that it is the API's own.
#[derive(Debug, Clone)]
pub enum WebhookVerify {
    /// it proves nothing
    None,
    /// RFC 2104
    Hmac {
        /// the hash
        hash: Hash,
        /// the header with the signature, lowercase
        header: String,
        /// what stands before it
        prefix: String,
        /// how it is written
        encoding: Encoding,
        /// what is signed, part by part
        signed: Vec<SignedPart>,
        /// the key
        secret: Template,
        /// when it was made
        timestamp: Option<WebhookTimestamp>,
    },
    /// a shared secret
    Token {
        /// a header, or else a query parameter
        in_header: bool,
        /// its name
        name: String,
        /// what it must be
        value: Template,
    },
    /// RFC 7519
    Jwt {
        /// the header with the token, lowercase
        header: String,
        /// how it is signed
        algorithm: Algorithm,
        /// the key
        key: Template,
        /// claims that it must have
        claims: Vec<(String, ValuePlan)>,
    },
}

/// A part of what is signed.
#[derive(Debug, Clone)]
pub enum SignedPart {
    /// the body, byte for byte
    Body,
    /// text
    Text(Template),
}

/// Where a delivery says when it was made.
#[derive(Debug, Clone)]
pub struct WebhookTimestamp {
    /// the header, lowercase
    pub header: String,
    /// what stands before it
    pub prefix: String,
    /// how far it may be from now
    pub tolerance: Duration,
}

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256
    Sha256,
    /// SHA-1
    Sha1,
    /// SHA-512
    Sha512,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// two digits a byte
    Hex,
    /// RFC 4648 section 4
    Base64,
}

/// An answer to a delivery.
#[derive(Debug, Clone)]
pub struct RespondPlan {
    /// the HTTP status
    pub status: u16,
    /// its body
    pub body: RespondBody,
}

/// The body of an answer.
#[derive(Debug, Clone)]
pub enum RespondBody {
    /// nothing
    None,
    /// JSON
    Json(ValuePlan),
    /// text
    Text(Template),
}

/// What a sync does with an event.
#[derive(Debug, Clone)]
pub struct OnWebhook {
    /// the kind of event; none = every one
    pub kind: Option<String>,
    /// a template that must hold too
    pub when: Option<Template>,
    /// what is done
    pub then: WebhookAction,
}

impl OnWebhook {
    /// Whether it names a variable anywhere.
    pub fn names(&self, variable: &str) -> bool {
        self.when.as_ref().is_some_and(|when| when.names(variable))
            || matches!(&self.then, WebhookAction::Fetch(request) if request_names(request, variable))
    }
}

/// What is done with an event.
#[derive(Debug, Clone)]
pub enum WebhookAction {
    /// the record at the path is written
    Upsert(Path),
    /// the row of the record at the path is marked as deleted
    Delete(Path),
    /// the sync runs
    Run,
    /// the record is asked for
    Fetch(RequestPlan),
}
