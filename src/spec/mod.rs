//! What a person wrote. One file per YAML construct, 1:1 with `schemas/`; no behaviour.
//!
//! A document goes text → JSON value ([`yaml`]) → checked ([`finding`]) against the JSON Schema made from these types ([`schema`])
//! → these types. One with mistakes is mended ([`mend`]), so that the rest of it is checked in the same go.

pub mod expression;
pub mod finding;
pub mod foreign;
pub mod gloss;
pub mod inherit;
pub mod mend;
pub mod reference;
pub mod schema;
pub mod secret;
pub mod yaml;

mod action;
mod auth;
mod deletes;
mod elsewhere;
mod incremental;
mod job;
mod model;
mod overlay;
mod pagination;
mod partition;
mod project;
mod provider;
mod request;
mod response;
mod schedule;
mod short;
mod sync;
mod syntax;
mod test;
mod webhook;

pub use action::*;
pub use auth::*;
pub use deletes::*;
pub use incremental::*;
pub use job::*;
pub use model::*;
pub use overlay::*;
pub use pagination::*;
pub use partition::*;
pub use project::*;
pub use provider::*;
pub use request::*;
pub use response::*;
pub use schedule::*;
pub use short::*;
pub use sync::*;
pub use test::*;
pub use webhook::*;
