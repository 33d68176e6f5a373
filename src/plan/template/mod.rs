//! Templates: expressions in text, parsed once, evaluated with fuel, typed.
//!
//! The grammar of an expression is headwater's own (`syntax`), a subset of Jinja's: no calls, no blocks. It is checked whole when it is
//! parsed (`check`) and then written down again for minijinja (`lower`), with every operator that could make something large out of
//! something small in the hands of a filter that keeps account (`budget`).

mod budget;
mod check;
mod encoding;
mod environment;
mod error;
mod filters;
mod lex;
mod lists;
mod lower;
mod parts;
mod queries;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod tests_of_values;
mod text;
mod times;

pub use encoding::{hex, percent_encoded};
pub use error::TemplateError;
pub use parts::Template;
