//! Runs syncs: a bounded pipeline fetch → map → commit for each, a writer for all.

mod action;
mod answer;
mod clock;
mod commit;
mod connect;
mod delivery;
mod detail;
mod ends;
mod error;
mod event;
mod facts;
mod fanout;
mod fetch;
mod gate;
mod host;
mod items;
mod job;
mod lane;
mod meter;
mod one_pass;
mod preview;
mod remap;
mod render;
mod report;
mod rules;
mod run;
mod stream;
mod sync;
mod token;
mod webhook;
mod writer;

pub use crate::remote::{Delivery, Keys};
pub use action::{Answer, Call, CallPlace, Saved, Source, call};
pub use clock::{Clock, system_clock};
pub use connect::{learn, sample, verify};
pub use delivery::{Received, Reception, Refusal};
pub use error::{Error, ErrorKind, RuleEnd};
pub use event::{Event, Observer};
pub use host::{Host, HostOptions, Offline, RunOptions, Session, run_id};
pub use preview::{Preview, PreviewRequest, preview};
pub use remap::{Amend, AmendReport, RemapReport, RetryReport, remap, retry};
pub use report::{Failed, Report, SyncReport};
pub use run::{Options, parents, rehearse, run, run_as};
pub use webhook::{Arrival, waits_for_runs};

pub use crate::remote::{Outlet, Receipt};
