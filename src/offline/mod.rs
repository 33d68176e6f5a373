//! Runs the tests of integrations: the real engine, answers that a document gives, a database that is thrown away. Nothing is sent.

mod diff;
mod exchange;
mod expect;
mod run;
mod value;

pub use diff::{Line, Sign};
pub use run::{Failure, TestReport, run};
