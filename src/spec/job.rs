use schemars::JsonSchema;
use serde::Deserialize;

use super::RequestSpec;
use super::expression::{DurationText, PathText};

/// An export that the API makes ready before it can be read. The job's id is part of what is remembered: a new run asks for the same job.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// The request that starts it.
    pub create: RequestSpec,
    /// A path to the job's id in the answer; from then on it is `job.id`.
    #[schemars(with = "PathText")]
    pub id: String,
    /// How its end is waited for.
    pub poll: PollSpec,
    /// Where its result is.
    pub download: DownloadSpec,
    /// The request that tells the API that nobody wants its result any more: it took too long, or the sync starts over.
    pub cancel: Option<RequestSpec>,
}

/// How the end of a job is waited for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PollSpec {
    /// The request that asks for its state.
    pub request: RequestSpec,
    /// How long to wait between two such requests.
    #[schemars(with = "Option<DurationText>", extend("default" = "5s"))]
    pub every: Option<String>,
    /// How long to wait in all; a job that takes longer fails the run.
    #[schemars(with = "Option<DurationText>", extend("default" = "2h"))]
    pub timeout: Option<String>,
    /// A path to the state in the answer.
    #[schemars(with = "PathText")]
    pub status: String,
    /// The states in which the result is there.
    #[schemars(length(min = 1))]
    pub done: Vec<String>,
    /// The states in which there will be no result. With all others, and after an answer with status 202, the wait goes on.
    #[serde(default)]
    pub failed: Vec<String>,
}

/// Where the result of a job is: a map with exactly one key. Paths lead into the last answer of `poll`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DownloadSpec {
    /// A request gives it; paged as `pagination` says.
    Request(Box<RequestSpec>),
    /// A path to its URL: `$.file_url`.
    #[schemars(with = "PathText")]
    Url(String),
    /// A path to the URLs of its parts: `$.urls[*]`.
    #[schemars(with = "PathText")]
    Parts(String),
    /// A request for each of its parts.
    Each(Box<EachPartSpec>),
}

/// A request for each part of the result of a job.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EachPartSpec {
    /// A path to what the answer says of its parts: `$.partitions[*]`.
    #[schemars(with = "PathText")]
    pub of: String,
    /// The request for one of them: it names that as `job.part`, and its number, from 0, as `job.index`.
    pub request: RequestSpec,
}
