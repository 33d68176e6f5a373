//! What a run compiles to: the plan types. All of it is resolved, parsed and bounded; nothing is checked again later.

mod action;
mod auth;
mod page;
mod partition;
mod project;
mod request;
mod sync;
mod table;
mod test;
mod webhook;

pub use action::*;
pub use auth::*;
pub use page::*;
pub use partition::*;
pub use project::*;
pub use request::*;
pub use sync::*;
pub use table::*;
pub use test::*;
pub use webhook::*;
