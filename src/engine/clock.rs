//! Where the engine takes the time from. The rooms behind it get it as an argument.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};

pub use crate::remote::Clock;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(now)
}

/// The time by the clock of this machine, in whole milliseconds: requests name it, and many APIs refuse what is finer.
#[expect(clippy::disallowed_methods, reason = "the engine hands the time to the rooms that must not know it")]
pub(super) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}
