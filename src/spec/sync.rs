use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::Value;

use super::expression::{DurationText, EmbeddedSchema, PathText, PredicateText};
use super::{
    AllowSpec, DeletesSpec, DetailsSpec, ErrorRuleSpec, ForEachSpec, IncrementalSpec, JobSpec, ModelSpec, OnErrorSpec,
    OnWebhookSpec, OneOrMany, PaginationSpec, RequestSpec, ResponseSpec, ScheduleSpec, WalkSpec,
};

/// # Sync
/// What is fetched from one endpoint and how it is kept: `integrations/<provider>/syncs/<name>.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-exclusive" = [["model", "outputs"], ["request", "job"]]))]
pub struct SyncSpec {
    /// The sync's name: lowercase letters, digits, `-` and `_`.
    pub sync: String,
    /// One sentence for people.
    pub description: Option<String>,
    /// Where the endpoint is documented.
    pub docs: Option<String>,
    /// What the credentials must be allowed to do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// When it runs by itself; a connection may say otherwise.
    #[schemars(extend("default" = "manual"))]
    pub schedule: Option<ScheduleSpec>,
    /// Whether it runs for each connection that does not name its syncs. A sync that needs `input` says false.
    #[schemars(extend("default" = true))]
    pub auto_start: Option<bool>,
    /// JSON Schema of the parameters a connection gives for this sync.
    #[schemars(with = "Option<EmbeddedSchema>")]
    pub input: Option<Value>,
    /// The model the records become: `models/<Name>.yaml` of the same provider, or the model itself.
    pub model: Option<ModelRefSpec>,
    /// Several models that one scan fills, instead of `model`. Each takes its share of the records.
    #[schemars(length(min = 1))]
    pub outputs: Option<Vec<OutputSpec>>,
    /// The request of each page.
    pub request: Option<RequestSpec>,
    /// An export that is waited for, instead of `request`.
    pub job: Option<JobSpec>,
    /// How the answer is read.
    pub response: ResponseSpec,
    /// How the next page is asked for; the provider's `pagination` holds under it.
    pub pagination: Option<PaginationSpec>,
    /// What an answer means that is not what was asked for; these rules come before the provider's.
    #[serde(default)]
    pub errors: Vec<ErrorRuleSpec>,
    /// Only what changed since the last run.
    pub incremental: Option<IncrementalSpec>,
    /// What tells that a record is gone; without it nothing is ever deleted.
    pub deletes: Option<DeletesSpec>,
    /// The request once for each item, levels in levels. Each item is a partition, with its own checkpoint.
    #[schemars(length(min = 1, max = 8))]
    pub for_each: Option<Vec<ForEachSpec>>,
    /// Partitions of `for_each` that are read at once.
    #[schemars(range(min = 1, max = 64), extend("default" = 1))]
    pub concurrency: Option<usize>,
    /// What follows when a partition of `for_each` cannot be read.
    #[schemars(extend("default" = "skip"))]
    pub on_error: Option<OnErrorSpec>,
    /// Lists in lists, such as folders in folders.
    pub walk: Option<WalkSpec>,
    /// One more request for each record, or for each batch of records; or a list of such.
    pub detail: Option<DetailsSpec>,
    /// What is done with the events that the provider's `webhooks` receive.
    #[serde(default)]
    pub on_webhook: Vec<OnWebhookSpec>,
    /// A run stops between two commits after this long, and the next one goes on from there.
    #[schemars(with = "Option<DurationText>")]
    pub max_runtime: Option<String>,
    /// A run stops after so many requests, and the next one goes on from there.
    #[schemars(range(min = 1))]
    pub max_requests: Option<u64>,
    /// A run stops after so many records, and the next one goes on from there.
    #[schemars(range(min = 1))]
    pub max_records: Option<u64>,
    /// Warnings that are meant to be so, each with the reason: `{ W080: the API never deletes }`. It holds here and in all below.
    #[serde(default)]
    pub allow: AllowSpec,
}

/// One of several models that a scan fills.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// The model the records become.
    pub model: ModelRefSpec,
    /// A JSONPath to its records, or several whose results are joined; without it those of `response`.
    pub records: Option<OneOrMany<PathText>>,
    /// Keeps only the records for which it holds, besides the `where` of `response`.
    #[serde(rename = "where")]
    #[schemars(with = "Option<PredicateText>")]
    pub filter: Option<String>,
}

/// A model: its name, or all that its file would hold.
#[derive(Debug, Clone)]
pub enum ModelRefSpec {
    /// `models/<Name>.yaml` of the same provider
    Name(String),
    /// written where it is used
    Inline(Box<ModelSpec>),
}

impl ModelRefSpec {
    /// The model's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Inline(model) => &model.model,
        }
    }
}

impl<'de> Deserialize<'de> for ModelRefSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ModelRefSpec;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a model, or a model")
            }

            fn visit_str<E>(self, name: &str) -> Result<ModelRefSpec, E> {
                Ok(ModelRefSpec::Name(name.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<ModelRefSpec, A::Error> {
                let model = ModelSpec::deserialize(de::value::MapAccessDeserializer::new(members))?;
                Ok(ModelRefSpec::Inline(Box::new(model)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for ModelRefSpec {
    fn schema_name() -> Cow<'static, str> {
        "ModelRefSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<ModelSpec>();
        json_schema!({
            "description": "A model: its name, or all that its file would hold.",
            "anyOf": [{ "type": "string" }, long],
        })
    }
}
