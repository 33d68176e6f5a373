//! The page: what `serve --listen` shows people at `/`.
//!
//! Every page is made on the server and can be read without a script; the script makes it again while something changes. What protects whom:
//!
//! - **A key** lets in (`login.rs`). A session is a random cookie that scripts cannot read and that other sites cannot have sent along
//!   (`SameSite=Strict`); it may see and do what the key may. The cookie belongs to the name by which the daemon was reached, so a page of
//!   another name that is made to mean this machine (DNS rebinding) has none, and sees the form for a key.
//! - **Forms** carry a token of the session, and a POST from another origin is refused (`session.rs`). That covers what cookies do not: another
//!   port of the same machine is the same site.
//! - **Text** of APIs, files and people goes through minijinja, which escapes it (`html.rs`); and the policy of each answer lets nothing run or
//!   load that the binary does not have.

mod assets;
mod chart;
mod connections;
mod facts;
mod files;
mod html;
mod login;
mod logs;
mod overview;
mod progress;
mod records;
mod routes;
mod session;
mod steer;
mod sync;
mod words;

#[cfg(test)]
mod tests;

pub use progress::Progress;
pub(super) use routes::routes;
