//! First drafts of integrations: from the answer of an API, an OpenAPI document, or what a person says, to YAML files with comments.
//! Pure: files and questions are the command line's. What comes from a document is never trusted, and what is guessed says so.

mod around;
mod aside;
mod columns;
mod example;
mod facts;
mod name;
mod parts;
mod paths;
mod rehearse;
mod runs;
mod sample;
mod texts;
mod wishes;
mod write;

pub mod openapi;

pub use around::{paging_of, surroundings, surroundings_of_draft, without_data};
pub use name::{column_name, file_name, model_name};
pub use parts::*;
pub use paths::with_inputs;
pub use sample::{Proposal, SampleError, propose};
pub use wishes::{DELETES, PAGINATIONS, Wishes, Wrong};
pub use write::{files_of_action, files_of_project, files_of_provider, files_of_sync};
