//! What a person wrote. One file per YAML construct, 1:1 with `schemas/`; no behaviour.
//!
//! A document goes text → JSON value ([`yaml`]) → checked ([`finding`]) against the JSON Schema made from these types ([`schema`])
//! → these types. One with mistakes is mended ([`mend`]), so that the rest of it is checked in the same go.

pub mod finding;
pub mod mend;
pub mod reference;
pub mod schema;
pub mod secret;
pub mod yaml;

mod auth;
mod deletes;
mod incremental;
mod model;
mod pagination;
mod project;
mod provider;
mod request;
mod sync;
mod syntax;

pub use auth::*;
pub use deletes::*;
pub use incremental::*;
pub use model::*;
pub use pagination::*;
pub use project::*;
pub use provider::*;
pub use request::*;
pub use sync::*;
