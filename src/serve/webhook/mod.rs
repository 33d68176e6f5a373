//! Events that APIs send by themselves: proven and written down before they are answered, and then worked off.

mod inbox;
mod receive;
mod reception;

pub use inbox::Inbox;
pub(super) use receive::routes;
pub use reception::Webhooks;
