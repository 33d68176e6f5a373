//! Runs the tests of integrations: the real engine, answers that a document gives, a database that is thrown away. Nothing is sent.

mod diff;
mod disguise;
mod exchange;
mod expect;
mod junit;
mod proven;
mod record;
mod run;
mod update;
mod value;

pub use diff::{Line, Sign};
pub use disguise::{Kind, Replaced, Rules, keys};
pub use junit::junit;
pub use proven::{Recording, Spot, Unproven, proven};
pub use record::{Extent, RecordError, Tape, live, with_parents};
pub use run::{Failure, TestReport, run};
pub use update::{Found, find, rewritten};
