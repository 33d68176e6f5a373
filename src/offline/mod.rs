//! Runs the tests of integrations: the real engine, answers that a document gives, a database that is thrown away. Nothing is sent.

mod diff;
mod exchange;
mod expect;
mod junit;
mod run;
mod update;
mod value;

pub use diff::{Line, Sign};
pub use junit::junit;
pub use run::{Failure, TestReport, run};
pub use update::{Found, find, rewritten};
