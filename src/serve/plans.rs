//! The plan of the daemon, which the API changes: inputs of syncs, and variants.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::StatusCode;
use tokio::sync::{Mutex, mpsc};

use super::answer::Denied;
use super::scheduler::ask;
use super::{Command, Webhooks};
use crate::diagnostic::{Diagnostic, Severity};
use crate::files::{self, Overlay};
use crate::plan::{Input, Known, Plan, SyncId, SyncPlan, compile};
use crate::store::Forgotten;

/// What a project is compiled from.
pub struct Sources {
    /// its files
    pub files: Vec<Input>,
    /// what was kept of its connections
    pub known: Known,
}

/// The plan as it stands.
pub(super) struct Standing {
    pub plan: Arc<Plan>,
    /// what of it the API has set
    pub overlay: Overlay,
}

impl Standing {
    /// Those of the syncs that this daemon runs.
    fn syncs(&self, selectors: &[String]) -> Vec<Arc<SyncPlan>> {
        // a variant that was named may have gone
        self.plan.syncs.iter().filter(|sync| sync.id.is_any_of(selectors)).cloned().collect()
    }
}

/// The plan of a daemon, and what it is made from. The files are those of its beginning, but for the one that the API writes: what a person
/// is just writing takes no effect before the daemon begins anew.
///
/// The API sets inputs, schedules and variants, and nothing that a connection is made of. So the clients of connections, which have its
/// budget and its tokens, serve the syncs of each plan.
pub struct Plans {
    folder: PathBuf,
    sources: Sources,
    selectors: Vec<String>,
    standing: RwLock<Arc<Standing>>,
    /// one change after the other
    changing: Mutex<()>,
    commands: mpsc::Sender<Command>,
    webhooks: Arc<Webhooks>,
}

impl Plans {
    /// The plan that was made from `sources`, of which the syncs of `selectors` run.
    ///
    /// # Errors
    /// What the API has set cannot be read.
    pub fn new(
        plan: Plan,
        mut sources: Sources,
        selectors: &[String],
        commands: mpsc::Sender<Command>,
        webhooks: Arc<Webhooks>,
    ) -> Result<Arc<Self>, files::Error> {
        let (folder, selectors) = (plan.folder.clone(), selectors.to_vec());
        let overlay = Overlay::taken_out(&mut sources.files)?;
        let standing = RwLock::new(Arc::new(Standing { plan: Arc::new(plan), overlay }));
        Ok(Arc::new(Self { folder, sources, selectors, standing, changing: Mutex::default(), commands, webhooks }))
    }

    /// The plan as it stands.
    pub(super) fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what the API has set, and with it the plan; of `purge` nothing stays. When this gives the new one, the change is on the disk.
    ///
    /// # Errors
    /// Those of `edit`; with the change the project would have mistakes; a sync that would go runs; it cannot be written.
    pub(super) async fn change(
        self: &Arc<Self>,
        purge: Option<SyncId>,
        edit: impl FnOnce(&Standing, &mut Overlay) -> Result<(), Denied> + Send + 'static,
    ) -> Result<(Arc<Standing>, Forgotten), Denied> {
        let plans = Arc::clone(self);
        // what has begun is done to its end, whether anybody waits for it or not
        let done = tokio::spawn(async move {
            let _alone = plans.changing.lock().await;
            let made = Arc::clone(&plans);
            let made = tokio::task::spawn_blocking(move || made.make(edit)).await.map_err(|error| internal(&error))?;
            let (new, file) = made?;
            let old = plans.standing();
            let stay: HashSet<&SyncId> = new.plan.syncs.iter().map(|sync| &sync.id).collect();
            let forgotten = if old.plan.syncs.iter().all(|sync| stay.contains(&sync.id)) {
                plans.write(file).await?;
                plans.schedule(&new, purge).await?
            } else {
                // one that goes may be running, and then it stays
                let forgotten = plans.schedule(&new, purge).await?;
                if let Err(denied) = plans.write(file).await {
                    plans.schedule(&old, None).await?;
                    return Err(denied);
                }
                forgotten
            };
            let new = Arc::new(new);
            *plans.standing.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
            plans.webhooks.replan(&new.syncs(&plans.selectors));
            Ok((new, forgotten))
        });
        done.await.map_err(|error| internal(&error))?
    }

    /// The plan with the change, and the file that says it. Blocks: it reads and compiles.
    fn make(
        &self,
        edit: impl FnOnce(&Standing, &mut Overlay) -> Result<(), Denied>,
    ) -> Result<(Standing, Input), Denied> {
        // what a person has taken out of the file is not put back
        let mut overlay = Overlay::read(&self.folder)?;
        edit(&self.standing(), &mut overlay)?;
        let file = overlay.input()?;
        let mut files = self.sources.files.clone();
        files.push(file.clone());
        let compiled = compile(&files, &self.folder, &self.sources.known);
        let mut errors = compiled.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        match (errors.next(), compiled.plan) {
            (None, Some(plan)) => Ok((Standing { plan: Arc::new(plan), overlay }, file)),
            (Some(error), _) => Err(wrong(error)),
            (None, None) => Err(internal(&"there is no plan")),
        }
    }

    async fn write(&self, file: Input) -> Result<(), Denied> {
        let folder = self.folder.clone();
        let written = tokio::task::spawn_blocking(move || Overlay::write(&file, &folder));
        Ok(written.await.map_err(|error| internal(&error))??)
    }

    async fn schedule(&self, standing: &Standing, purge: Option<SyncId>) -> Result<Forgotten, Denied> {
        let syncs = standing.syncs(&self.selectors);
        let asked = ask(&self.commands, |reply| Command::Replan(syncs, purge, reply)).await;
        Ok(asked.ok_or_else(Denied::stopping)??)
    }
}

/// What would be wrong, as `headwater check` tells it.
fn wrong(error: &Diagnostic) -> Denied {
    let Diagnostic { code, source, position, message, hint, severity: _ } = error;
    // what is wrong in another file is so because of what was sent, and its place helps
    let place = match position {
        Some(at) if source.name != files::OVERLAY_FILE => format!("{}:{}:{}: ", source.name, at.line, at.column),
        _ => String::new(),
    };
    let denied = Denied::new(StatusCode::BAD_REQUEST, "bad_request", format!("{place}{message} ({code})"));
    Denied { hint: hint.clone(), ..denied }
}

fn internal(error: &dyn ToString) -> Denied {
    Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
}

impl From<files::Error> for Denied {
    fn from(error: files::Error) -> Self {
        let (status, code) = match error {
            files::Error::OverlayTooLarge | files::Error::Unsayable(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let denied = Self::new(status, code, error.to_string());
        Self { hint: error.hint().map(str::to_owned), ..denied }
    }
}
