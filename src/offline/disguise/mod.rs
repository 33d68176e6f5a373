//! Replaces what tells of people and secrets in what an API has answered, so that it can be shown, and everything that was the same is the
//! same still. Pure: its key is an argument, and who throws it away cannot undo anything.

mod kind;
mod moment;
mod stand_in;
mod swaps;
mod text;
mod walk;
mod words;

pub use kind::Kind;
pub(super) use swaps::SURE_SECRET_BYTES_MIN;
pub use swaps::{Replaced, Rules};
pub(super) use text::{Content, read};
pub use walk::{Disguise, Learner, keys};

#[cfg(test)]
mod tests;
