//! The reference of the language as Markdown pages: what the schemas say of every word, with examples cut out of whole documents.
//!
//! [`outline`] reads the schemas, [`layout`] decides what stands on which page and how it is called, [`corpus`] finds out which word each
//! key of the example documents is, [`choose`] takes the shortest that show all of them, [`excerpt`] cuts them out, [`page`] writes.

mod choose;
mod corpus;
mod excerpt;
mod layout;
mod outline;
mod page;

#[cfg(test)]
mod tests;

pub use corpus::Example;
pub use outline::Subject;
pub use page::{Page, Reference, reference};
