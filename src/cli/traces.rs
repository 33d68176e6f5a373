//! The way from events to a collector of OpenTelemetry.

use std::sync::Arc;

use super::output::Failure;
use crate::engine::{Clock, Event, Observer};
use crate::serve::Watcher;
use crate::telemetry::{Settings, Traces};

/// A watcher that makes traces besides telling another one, if the environment names a collector. To be called within the runtime.
pub(super) fn watching(settings: Option<&Settings>, next: Watcher, clock: Clock) -> Result<(Watcher, Ending), Failure> {
    let Some(settings) = settings else { return Ok((next, Ending(None))) };
    let told = Arc::clone(&next);
    let away =
        move |why| told(None, None, Event::NotTold { endpoint: "the collector of OpenTelemetry".to_owned(), why });
    let traces = Traces::new(settings, Arc::new(away))
        .map_err(|why| Failure::user(format!("traces cannot be sent: {why}"), Some("look at `OTEL_…`".to_owned())))?;
    let (traces, ending) = {
        let traces = Arc::new(traces);
        (Arc::clone(&traces), Ending(Some(traces)))
    };
    let watcher: Watcher = Arc::new(move |run_id, sync, event| {
        traces.watch(clock(), run_id, sync, &event);
        next(run_id, sync, event);
    });
    Ok((watcher, ending))
}

/// The same for the observer of one run.
pub(super) fn observing(
    settings: Option<&Settings>,
    next: Observer,
    clock: Clock,
    run_id: String,
) -> Result<(Observer, Ending), Failure> {
    let (watcher, ending) = watching(settings, Arc::new(move |_, sync, event| next(sync, event)), clock)?;
    Ok((Arc::new(move |sync, event| watcher(Some(&run_id), sync, event)), ending))
}

/// What the environment says.
pub(super) fn settings() -> Result<Option<Settings>, Failure> {
    Settings::of_environment().map_err(|unsupported| Failure::user(unsupported.to_string(), Some(unsupported.hint())))
}

/// What is to be done when nothing runs any more.
pub(super) struct Ending(Option<Arc<Traces>>);

impl Ending {
    /// Sends what is left.
    pub(super) async fn flush(self) {
        if let Some(traces) = self.0 {
            // it waits for a thread that sends by way of this runtime
            drop(tokio::task::spawn_blocking(move || traces.close()).await);
        }
    }
}
