//! The providers as pages of a browser: HTML out of templates, which needs no server and no script.

mod pages;

pub use pages::{Page, pages};
