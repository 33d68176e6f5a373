use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RequestSpec;
use super::expression::{DurationText, PathText, TemplateText, TemplatedValue};

/// How the notifications of an API are received. Templates name `request.headers`, `request.query`, `request.method`, `request.url`, `request.body` (the text as it came), `body` (what it says), and `event` (one of `events`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhooksSpec {
    /// How a delivery proves that it is the API's own.
    pub verify: WebhookVerifySpec,
    /// The answer to the API's question whether somebody listens.
    pub handshake: Option<HandshakeSpec>,
    /// Where the events of a delivery stand; without it the body is the one event.
    #[schemars(with = "Option<PathText>")]
    pub events: Option<String>,
    /// What kind of event it is: `{{ request.headers['x-github-event'] }}`.
    #[serde(rename = "type")]
    #[schemars(with = "Option<TemplateText>")]
    pub kind: Option<String>,
    /// The event's id; one that was seen before is acknowledged and dropped.
    #[schemars(with = "Option<TemplateText>")]
    pub id: Option<String>,
    /// Which connection an event is for.
    #[serde(default)]
    #[schemars(extend("default" = {"path": {}}))]
    pub connection: WebhookConnectionSpec,
}

/// How a delivery proves that it is the API's own: a map with exactly one key. Checked in constant time.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WebhookVerifySpec {
    /// It proves nothing: anybody who knows the address can send.
    None {},
    /// A keyed hash of the body (RFC 2104).
    Hmac(HmacSpec),
    /// A shared secret in a header or query parameter.
    Token(WebhookTokenSpec),
    /// A signed token (RFC 7519).
    Jwt(WebhookJwtSpec),
}

/// A keyed hash of the body.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HmacSpec {
    /// The hash function.
    #[serde(default)]
    pub algorithm: HashSpec,
    /// The header that holds the signature.
    pub header: String,
    /// What stands before the signature in the header: `sha256=`. A header may hold several, with commas or spaces between them
    /// (`t=…,v1=…,v1=…`): those with the prefix count, and one of them must be right.
    pub prefix: Option<String>,
    /// How the signature is written.
    #[serde(default)]
    pub encoding: EncodingSpec,
    /// What is signed: the body as it came, and what the API puts before or behind it: `{{ request.timestamp }}.{{ request.body }}`.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ request.body }}"))]
    pub signed: Option<String>,
    /// The key of the hash.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.webhook_secret }}"))]
    pub secret: Option<String>,
    /// The time the delivery says it was made at.
    pub timestamp: Option<WebhookTimestampSpec>,
}

/// A hash function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashSpec {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-1.
    Sha1,
    /// SHA-512.
    Sha512,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodingSpec {
    /// Two digits a byte.
    #[default]
    Hex,
    /// Base64 (RFC 4648 section 4).
    Base64,
}

/// The time a delivery says it was made at; one that is too old is refused.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookTimestampSpec {
    /// The header that holds it: seconds or milliseconds since 1970, or RFC 3339. Templates of `signed` have it as `request.timestamp`.
    pub header: String,
    /// What stands before it, in a header that holds more: `t=`.
    pub prefix: Option<String>,
    /// How far it may be from now.
    #[schemars(with = "Option<DurationText>", extend("default" = "5m"))]
    pub tolerance: Option<String>,
}

/// A shared secret: name exactly one of `header` and `query`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["header", "query"]]))]
pub struct WebhookTokenSpec {
    /// The header that holds it.
    pub header: Option<String>,
    /// The query parameter that holds it.
    pub query: Option<String>,
    /// What the header or parameter must hold.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.webhook_secret }}"))]
    pub value: Option<String>,
}

/// A signed token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookJwtSpec {
    /// The header that holds it.
    #[schemars(extend("default" = "Authorization"))]
    pub header: Option<String>,
    /// The signature algorithm.
    pub algorithm: super::AlgorithmSpec,
    /// The key in PEM, or the secret for HS256.
    #[schemars(with = "Option<TemplateText>", extend("default" = "{{ credentials.webhook_secret }}"))]
    pub key: Option<String>,
    /// Claims that it must have.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, TemplatedValue>")]
    pub claims: IndexMap<String, Value>,
}

/// The answer to a question whether somebody listens.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandshakeSpec {
    /// A template that tells such a question: `{{ body.type == 'url_verification' }}`.
    #[schemars(with = "TemplateText")]
    pub when: String,
    /// What is answered.
    pub respond: RespondSpec,
}

/// An answer: name at most one of `json` and `text`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["json", "text"]]))]
pub struct RespondSpec {
    /// The HTTP status.
    #[schemars(range(min = 200, max = 299), extend("default" = 200))]
    pub status: Option<u16>,
    /// A JSON body: `{ challenge: "{{ body.challenge }}" }`.
    #[schemars(with = "Option<TemplatedValue>")]
    pub json: Option<Value>,
    /// A body of text.
    #[schemars(with = "Option<TemplateText>")]
    pub text: Option<String>,
}

/// Which connection an event is for: a map with exactly one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WebhookConnectionSpec {
    /// Each connection has an address of its own: `/webhooks/<provider>/<connection>`.
    Path {},
    /// The connection whose settings have what the event says: `{ team_id: $.team_id }`.
    #[schemars(with = "IndexMap<String, PathText>")]
    Match(IndexMap<String, String>),
}

impl Default for WebhookConnectionSpec {
    fn default() -> Self {
        Self::Path {}
    }
}

/// What a sync does with an event: name exactly one of `upsert`, `delete`, `run` and `fetch`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["upsert", "delete", "run", "fetch"]]))]
pub struct OnWebhookSpec {
    /// The kind of event, as `type` of the provider's `webhooks` tells it. Without it every event.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// A template over `event` that must hold too: `{{ event.action != 'deleted' }}`.
    #[schemars(with = "Option<TemplateText>")]
    pub when: Option<String>,
    /// A path to the record in the event, which is written.
    #[schemars(with = "Option<PathText>")]
    pub upsert: Option<String>,
    /// A path to the record in the event, whose row is marked as deleted.
    #[schemars(with = "Option<PathText>")]
    pub delete: Option<String>,
    /// The sync runs now; many such events at once are one run.
    pub run: Option<NothingSpec>,
    /// The record is asked for, and the whole answer is written: `{ get: "/contacts/{{ event.id }}" }`.
    pub fetch: Option<RequestSpec>,
}

/// A word that takes no others: `{}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NothingSpec {}
