//! One list of a sync, page after page: its records, one window of them, what was deleted, all ids.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use minijinja::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::answer::{Mapped, PageRows, Reader, Rows, Share};
use super::commit::{Message, Next};
use super::detail::{Bare, Completing, Stored};
use super::fetch::{Fetched, Fetcher, Verdict};
use super::gate::Gate;
use super::render::{self, Variables};
use super::stream::{Outlet, Piece};
use super::sync::Task;
use super::{Error, Event, RuleEnd};
use crate::plan::{DeletePlan, IncrementalPlan, ListPlan, MarkKind, Scope, SyncPlan, WindowPlan, limits};
use crate::record::{KeyReader, Mapper, MarkReader, is_packed};
use crate::remote::{Client, Request};
use crate::scan::{
    Lane, Mark, Node, OpenWindow, PageFacts, Position, Range, ScanState, Step, Windows, all_at_once, begins_changes,
    first_scan, is_whole_feed,
};

/// A page on its way to the store.
pub(super) struct Page {
    pub(super) lane: Lane,
    pub(super) mapped: Mapping,
    /// the scan behind it; marks and doubts of the mapping are added when it is committed
    pub(super) after: ScanState,
    pub(super) done: bool,
    /// why a rule of `errors` leaves it out
    pub(super) left_out: Option<Error>,
    /// which piece of it
    pub(super) piece: Piece,
}

/// The records of an answer on their way to rows.
pub(super) enum Mapping {
    Done(Result<Mapped, Error>),
    /// on a blocking thread
    Running(JoinHandle<Option<Result<Mapped, Error>>>),
}

impl Mapping {
    /// Reads an answer with this body by `read`: a small one at once, as waking another thread would take as long.
    fn begin(body: &[u8], read: impl FnOnce() -> Option<Result<Mapped, Error>> + Send + 'static) -> Self {
        // what is packed may be of any size
        if body.len() > limits::READ_AT_ONCE_BYTES_MAX || is_packed(body) {
            return Self::Running(tokio::task::spawn_blocking(read));
        }
        let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
            let why = panic.downcast_ref::<&str>().map(|why| (*why).to_owned());
            let why = why.or_else(|| panic.downcast_ref::<String>().cloned());
            Some(Err(Error::Bug(why.unwrap_or_else(|| "reading an answer panicked".to_owned()))))
        });
        Self::Done(read.unwrap_or_else(|| Err(unexplained())))
    }

    /// The rows.
    ///
    /// # Errors
    /// What is wrong with the records; [`Error::Bug`] if reading them panicked.
    pub(super) async fn rows(self) -> Result<Mapped, Error> {
        match self {
            Self::Done(mapped) => mapped,
            Self::Running(mapped) => {
                mapped.await.map_err(|error| Error::Bug(error.to_string()))?.unwrap_or_else(|| Err(unexplained()))
            }
        }
    }
}

/// What an answer says of its page, its records on their way to rows, why a rule of `errors` leaves it out, and which piece of the page it is.
type Answered = (PageFacts, Mapping, Option<Error>, Piece);

/// One page asked for.
pub(super) struct Asked {
    /// the request, secrets masked, of a delta feed
    request: Option<String>,
    facts: PageFacts,
    pub(super) step: Step,
    pub(super) mapped: Mapping,
    /// why a rule of `errors` leaves the page out
    pub(super) left_out: Option<Error>,
    /// which piece of the page is mapped
    piece: Piece,
}

impl Asked {
    /// The answer for the next page of any list, which the scan moves over; none = the window holds too much. What `outlet` takes of it while
    /// it comes is not mapped here.
    pub(super) async fn ask(
        fetcher: &Fetcher,
        reader: &Arc<Reader>,
        scan: &mut ScanState,
        outlet: Option<&Outlet<'_>>,
    ) -> Result<Option<Self>, Error> {
        let request = render::request(&reader.plan, &reader.list, &reader.shared, scan)?;
        let masked = reader.token.is_some().then(|| reader.client.masked(&request));
        let may_be_past_end = reader.counts() && scan.pages > 0;
        let by_token = scan.since_token.is_some();
        let Some((facts, mapped, left_out, piece)) =
            Self::send(fetcher, reader, request, (may_be_past_end, by_token), outlet).await?
        else {
            return Ok(None);
        };
        if facts.split {
            return Ok(None);
        }
        let step = reader.advance(scan, &facts)?;
        Ok(Some(Self { request: masked, facts, step, mapped, left_out, piece }))
    }

    /// The answer for a part of an export, by its number and how many there are; the scan moves over it. None = the window holds too much.
    pub(super) async fn part(
        fetcher: &Fetcher,
        reader: &Arc<Reader>,
        request: &Request,
        scan: &mut ScanState,
        (part, outlet): ((usize, usize), Option<&Outlet<'_>>),
    ) -> Result<Option<Self>, Error> {
        let sent = Self::send(fetcher, reader, request.clone(), (false, false), outlet).await?;
        let Some((facts, mapped, left_out, piece)) = sent.filter(|(facts, ..)| !facts.split) else { return Ok(None) };
        let step = scan.advance_part(&facts, part);
        Ok(Some(Self { request: None, facts, step, mapped, left_out, piece }))
    }

    /// What stands for the answer where there is nothing to ask for: the end.
    pub(super) fn nothing(reader: &Arc<Reader>, scan: &mut ScanState) -> Self {
        let facts = PageFacts { ended: true, ..PageFacts::default() };
        let step = scan.advance_part(&facts, (0, 0));
        let mapped = Mapping::Done(reader.nothing());
        Self { request: None, facts, step, mapped, left_out: None, piece: Piece::WHOLE }
    }

    /// Sends a request and reads its answer; none = the window holds too much.
    async fn send(
        fetcher: &Fetcher,
        reader: &Arc<Reader>,
        request: Request,
        (may_be_past_end, by_token): (bool, bool),
        outlet: Option<&Outlet<'_>>,
    ) -> Result<Option<Answered>, Error> {
        let empty = |facts: PageFacts, left_out: Option<Error>, piece: Piece| {
            Ok(Some((facts, Mapping::Done(reader.nothing()), left_out, piece)))
        };
        let nothing = |facts, left_out| empty(facts, left_out, Piece::WHOLE);
        let missing: &[u16] = if may_be_past_end { &[404] } else { &[] };
        match fetcher.fetch(reader, &request, (missing, by_token), outlet).await? {
            Fetched::Verdict(Verdict::Expired) => Err(Error::TokenExpired),
            Fetched::Verdict(Verdict::Split) => Ok(None),
            Fetched::NoSuchPage => nothing(PageFacts { past_end: true, ..PageFacts::default() }, None),
            Fetched::Empty => nothing(PageFacts { ended: true, ..PageFacts::default() }, None),
            Fetched::LeftOut(why) if reader.counts() => {
                nothing(PageFacts { left_out: true, ..PageFacts::default() }, Some(why))
            }
            Fetched::LeftOut(why) => Err(why.instead(RuleEnd::PageNeeded)),
            Fetched::Streamed { facts, .. } => {
                empty(facts.ok_or_else(unexplained)?, None, outlet.map_or(Piece::WHOLE, Outlet::last))
            }
            Fetched::Answer { response, accepted } => {
                let (tell, told) = oneshot::channel();
                let reader = Arc::clone(reader);
                let body = response.body.clone();
                let mapped = Mapping::begin(&body, move || reader.read(&request, (&response, accepted), tell));
                match told.await {
                    Ok(facts) => Ok(Some((facts?, mapped, None, Piece::WHOLE))),
                    // nothing was told: reading panicked
                    Err(_) => Err(mapped.rows().await.err().unwrap_or_else(unexplained)),
                }
            }
        }
    }
}

/// What becomes of records that get their details: the last rows of them, and whether others were sent.
type Completed<'l> = dyn Future<Output = Result<(PageRows, bool), Error>> + Send + 'l;

/// How reading a list ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// at its end, which is committed
    Complete,
    /// before it, because the run stops
    Stopped,
    /// a window holds more than the API gives
    Split,
}

/// The part of a sync whose lists are read.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    /// the partition's key; empty for a sync of one part, and for what partitions share
    pub(super) key: Arc<str>,
    /// the items of the levels, by their names
    pub(super) parent: Option<Value>,
    /// the place of the walk
    pub(super) node: Option<Arc<Node>>,
}

impl Partition {
    /// All of a sync of one part, or what its partitions share.
    pub(super) fn whole() -> Self {
        Self { key: "".into(), parent: None, node: None }
    }
}

/// Reads the lists of one part of a sync.
#[derive(Clone)]
pub(super) struct Lanes {
    pub(super) task: Arc<Task>,
    pub(super) fetcher: Arc<Fetcher>,
    messages: mpsc::Sender<(Arc<str>, Message)>,
    partition: Arc<Partition>,
    /// rows below which a fan-out need not ask for anything
    pub(super) gate: Option<Arc<Gate>>,
    /// scans named so far
    named: u64,
    /// the epoch of what the part remembers
    pub(super) epoch: u64,
}

impl Lanes {
    pub(super) fn new(task: Arc<Task>, fetcher: Arc<Fetcher>, messages: mpsc::Sender<(Arc<str>, Message)>) -> Self {
        let partition = Arc::new(Partition::whole());
        Self { task, fetcher, messages, partition, gate: None, named: 0, epoch: 0 }
    }

    /// The same for another part of the sync.
    pub(super) fn of(&self, partition: Partition) -> Self {
        Self { partition: Arc::new(partition), named: 0, ..self.clone() }
    }

    fn new_id(&mut self) -> u64 {
        self.named += 1;
        self.task.new_id(&self.partition.key, self.named)
    }

    /// Reads a list to its end, from where its scan is. What the API does not know any more, a saved place or a token, is begun again, once.
    pub(super) async fn read(
        &mut self,
        lane: Lane,
        mut scan: ScanState,
        range: Option<&Range>,
    ) -> Result<Ended, Error> {
        let (mut may_begin_again, mut may_lose_token) = (true, true);
        loop {
            let (place, pages, job) = (scan.position.clone(), scan.pages, scan.job.clone().map(|job| job.id));
            let failed = match self.read_pages(lane, &mut scan, range).await {
                Ok(Ended::Complete) => match self.finish(lane, &scan).await? {
                    Next::Closed => return Ok(Ended::Complete),
                    Next::Again(again) => {
                        scan = *again;
                        continue;
                    }
                },
                Ok(ended) => {
                    if ended == Ended::Split {
                        self.cancel_left(scan.job.into_iter().collect()).await?;
                    }
                    return Ok(ended);
                }
                Err(error) => error,
            };
            // what an earlier run left behind: a place, or an export whose files are gone by now
            let goes_on = place != Position::Start || job.is_some();
            let refused = goes_on
                && scan.pages == pages
                && scan.job.as_ref().map(|job| &job.id) == job.as_ref()
                && matches!(failed, Error::Status { status: 400 | 404 | 410 | 422, .. });
            let (token, why) = match failed {
                // a place that is not known any more may have belonged to a token that is not either
                Error::TokenExpired if may_lose_token => {
                    may_lose_token = false;
                    (None, "the API does not know the token any more")
                }
                _ if refused && may_begin_again => {
                    may_begin_again = false;
                    (scan.since_token.clone(), "the API no longer knows the page to go on from")
                }
                failed => return Err(failed),
            };
            let restarted = Some(why.to_owned());
            (self.task.observer)(Some(&self.task.plan.id), Event::Started { resumed: false, restarted });
            self.begin_again(lane, &mut scan, token).await?;
        }
    }

    /// The scan from its first page, asked for with this token, and without anything that it has seen.
    pub(super) async fn begin_again(
        &mut self,
        lane: Lane,
        scan: &mut ScanState,
        token: Option<serde_json::Value>,
    ) -> Result<(), Error> {
        let id = if matches!(lane, Lane::Window(_)) { scan.id } else { self.new_id() };
        let now = (self.task.clock)();
        let fresh = match lane {
            Lane::Main => first_scan(&self.task.plan, id, now, (scan.since.clone(), token)),
            Lane::Window(_) | Lane::Feed | Lane::Sweep => ScanState::begin(id, now, scan.since.clone()),
        };
        *scan = ScanState { whole: scan.whole, ..fresh };
        self.send(Message::BeginAgain(lane, Box::new(scan.clone()))).await
    }

    pub(super) async fn send(&self, message: Message) -> Result<(), Error> {
        // the writing side has failed, and its error comes first
        self.messages.send((Arc::clone(&self.partition.key), message)).await.map_err(|_| unexplained())
    }

    /// After the last page: what is gone may be found out now.
    async fn finish(&self, lane: Lane, scan: &ScanState) -> Result<Next, Error> {
        if !needs_finish(&self.task.plan, &self.partition.key, lane, scan) {
            return Ok(Next::Closed);
        }
        let (reply, answer) = oneshot::channel();
        self.send(Message::Finish { lane, reply }).await?;
        answer.await.map_err(|_| unexplained())?
    }

    async fn read_pages(&mut self, lane: Lane, scan: &mut ScanState, range: Option<&Range>) -> Result<Ended, Error> {
        if scan.position == Position::End {
            return Ok(Ended::Complete);
        }
        if !self.has_start_token(lane, scan, range).await? {
            return Ok(Ended::Stopped);
        }
        let has_job = matches!(lane, Lane::Main | Lane::Window(_)) && changes(&self.task.plan, lane, scan).is_none();
        match self.task.plan.job.clone().filter(|_| has_job) {
            Some(job) => self.read_job((lane, &job), scan, range).await,
            None => {
                let reader = Arc::new(self.reader(lane, scan, range)?);
                self.read_list(lane, scan, &reader, false).await
            }
        }
    }

    /// Reads the pages of a list from where the scan is. `one_at_least`: whatever the run has used up.
    pub(super) async fn read_list(
        &self,
        lane: Lane,
        scan: &mut ScanState,
        reader: &Arc<Reader>,
        one_at_least: bool,
    ) -> Result<Ended, Error> {
        let mut must_go_on = one_at_least;
        loop {
            if !std::mem::take(&mut must_go_on) && self.is_stopped() {
                return Ok(Ended::Stopped);
            }
            let page = self.fetch_page(lane, scan, reader);
            let Some(page) = self.unless_stopped(page).await else { return Ok(Ended::Stopped) };
            let Some(page) = page? else { return Ok(Ended::Split) };
            let done = page.done;
            self.send(Message::Page(Box::new(page))).await?;
            if done {
                return Ok(Ended::Complete);
            }
        }
    }

    /// Whether the run is to stop before it asks for more.
    pub(super) fn is_stopped(&self) -> bool {
        *self.task.stop.borrow() || self.task.meter.spent(self.fetcher.requests()).is_some()
    }

    /// What the work gives; none when the run is to stop before it is done.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stop = self.task.stop.clone();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => None,
            () = self.task.meter.time_is_up() => None,
            done = work => Some(done),
        }
    }

    pub(super) fn reader(&self, lane: Lane, scan: &ScanState, range: Option<&Range>) -> Result<Reader, Error> {
        let client = self.task.client.clone()?;
        Ok(reader(&self.task.plan, client, lane, scan, (range, &self.partition)))
    }

    /// The next page; none = the window holds too much.
    async fn fetch_page(&self, lane: Lane, scan: &mut ScanState, reader: &Arc<Reader>) -> Result<Option<Page>, Error> {
        let outlet = self.outlet(lane, scan, reader);
        let asked = Asked::ask(&self.fetcher, reader, scan, outlet.as_ref()).await?;
        let Some(fetched) = asked else { return Ok(None) };
        self.page(lane, scan, reader, fetched).await.map(Some)
    }

    /// Where the pieces of an answer go that is read while it comes; none where it is read whole.
    pub(super) fn outlet(&self, lane: Lane, scan: &ScanState, reader: &Reader) -> Option<Outlet<'_>> {
        reader.way().map(|_| Outlet::of_lane(self, lane, scan))
    }

    /// What was asked for, on its way to the store.
    pub(super) async fn page(
        &self,
        lane: Lane,
        scan: &ScanState,
        reader: &Arc<Reader>,
        fetched: Asked,
    ) -> Result<Page, Error> {
        let may_lack = self.task.plan.token.as_ref().is_some_and(|token| token.optional);
        if let (false, Lane::Main, Some(request), Step::Done, None) =
            (may_lack, lane, fetched.request, fetched.step, &scan.token)
        {
            return Err(Error::TokenMissing { request });
        }
        let PageFacts { records, total, .. } = fetched.facts;
        self.task.meter.add(records);
        if lane != Lane::Feed && lane != Lane::Sweep {
            (self.task.observer)(Some(&self.task.plan.id), Event::Page { records, total });
        }
        let Asked { mut mapped, step, left_out, mut piece, .. } = fetched;
        if !self.task.plan.details.is_empty() && matches!(lane, Lane::Main | Lane::Window(_)) {
            // what cannot be had of a record is a fault of this list, and not of what is committed
            let Mapped::Bare(bare) = mapped.rows().await? else { return Err(unexplained()) };
            let (rows, begun) = self.complete((lane, scan), reader, bare, piece.begins).await?;
            piece.begins &= !begun;
            mapped = Mapping::Done(Ok(Mapped::Rows(rows)));
        }
        Ok(Page { lane, mapped, after: scan.clone(), done: step == Step::Done, left_out, piece })
    }

    /// Adds the details to records of a page, and sends rows of it while more of them come. Gives the last of these rows, and whether others
    /// were sent.
    pub(super) async fn complete(
        &self,
        (lane, scan): (Lane, &ScanState),
        reader: &Arc<Reader>,
        bare: Bare,
        begins: bool,
    ) -> Result<(PageRows, bool), Error> {
        // what a list of changes names has changed, however it names it
        let is_known = changes(&self.task.plan, lane, scan).is_none();
        let stored = is_known.then_some(Stored { writer: &self.task.writer, epoch: self.epoch });
        let mut completing = Completing::of(&self.fetcher, reader, bare, stored).await?;
        let mut begun = false;
        loop {
            let rows = completing.next().await?;
            if !self.task.wish.accept_deletes {
                self.fetcher.check_details()?;
            }
            if completing.is_done() {
                return Ok((rows, begun));
            }
            self.send_piece((lane, scan), Mapped::Rows(rows), begins && !begun).await?;
            begun = true;
        }
    }

    /// The same for what is read while it comes: a detail is asked for as the answer is, and this has no name for itself.
    pub(super) fn completed<'l>(
        &'l self,
        of: (Lane, &'l ScanState),
        reader: &'l Arc<Reader>,
        bare: Bare,
        begins: bool,
    ) -> Pin<Box<Completed<'l>>> {
        Box::pin(self.complete(of, reader, bare, begins))
    }

    /// Sends rows of a page of which more come: the scan does not move by them.
    pub(super) async fn send_piece(
        &self,
        (lane, scan): (Lane, &ScanState),
        mapped: Mapped,
        begins: bool,
    ) -> Result<(), Error> {
        let piece = Piece { begins, ends: false };
        let page =
            Page { lane, mapped: Mapping::Done(Ok(mapped)), after: scan.clone(), done: false, left_out: None, piece };
        self.send(Message::Page(Box::new(page))).await
    }

    /// Reads window after window, several at once. One that fails does not keep the others from being read: only it is read again.
    pub(super) async fn read_windows(&mut self, mut windows: Windows) -> Result<Ended, Error> {
        let task = Arc::clone(&self.task);
        let Some((incremental, window)) = task.plan.windows() else {
            return Err(Error::Bug("a sync without a scan".into()));
        };
        // one that got nowhere before may fail again: it must not keep those behind it from being read
        let (nowhere, halfway): (Vec<OpenWindow>, Vec<OpenWindow>) = windows
            .open
            .iter()
            .rev()
            .cloned()
            .partition(|window| window.scan.position == Position::Start && window.scan.rounds == 0);
        let (mut waiting, mut last) = (halfway, nowhere);
        let mut reading = JoinSet::new();
        let (mut stopped, mut failed, mut failures) = (false, None, 0);
        loop {
            while reading.len() < window.concurrency && !stopped && failures < limits::WINDOW_FAILURES_MAX {
                let next = match waiting.pop() {
                    Some(next) => Some(next),
                    None => windows.next(incremental, window, self.new_id(), (task.clock)()).or_else(|| last.pop()),
                };
                let Some(OpenWindow { range, scan }) = next else { break };
                self.send(Message::Open(Box::new(OpenWindow { range: range.clone(), scan: scan.clone() }))).await?;
                let mut lanes = self.clone();
                reading.spawn(async move {
                    let (id, ended) = (scan.id, lanes.read(Lane::Window(scan.id), scan, Some(&range)).await);
                    (id, range, ended)
                });
            }
            let Some(ended) = reading.join_next().await else { break };
            let (id, range, ended) = ended.map_err(|error| Error::Bug(error.to_string()))?;
            match ended {
                Ok(Ended::Complete) => {}
                Ok(Ended::Stopped) => stopped = true,
                Ok(Ended::Split) => match self.halves(incremental, window, &range) {
                    Ok(halves) => {
                        self.send(Message::GiveUp(id)).await?;
                        waiting.extend(halves);
                    }
                    Err(error) => (failed, failures) = (failed.or(Some(error)), failures + 1),
                },
                Err(error) => {
                    failures = if error.concerns_all() { limits::WINDOW_FAILURES_MAX } else { failures + 1 };
                    failed = failed.or(Some(error));
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None if stopped => Ok(Ended::Stopped),
            None => Ok(Ended::Complete),
        }
    }

    /// The later half first, because the last one is taken next.
    fn halves(
        &mut self,
        incremental: &IncrementalPlan,
        window: &WindowPlan,
        range: &Range,
    ) -> Result<[OpenWindow; 2], Error> {
        let Some((_, least)) = &window.split else {
            return Err(Error::Bug("a window is halved without a rule".into()));
        };
        let Some((earlier, later)) = range.halves(incremental, window, *least) else {
            return Err(Error::WindowTooFull { range: range.to_string() });
        };
        let now = (self.task.clock)();
        let mut open = |range| OpenWindow { range, scan: ScanState::begin(self.new_id(), now, None) };
        Ok([open(later), open(earlier)])
    }
}

/// What reads the answers of a lane, of the whole list or one window of it, and of one partition.
pub(super) fn reader(
    plan: &Arc<SyncPlan>,
    client: Client,
    lane: Lane,
    scan: &ScanState,
    (range, partition): (Option<&Range>, &Partition),
) -> Reader {
    let Partition { parent, node, .. } = partition;
    let variables = Variables::new(plan, scan.started_at).with_parent(parent.as_ref()).with_walk(node.as_deref());
    let field = |read: fn(&IncrementalPlan) -> bool| plan.incremental.as_ref().filter(|plan| read(plan));
    let floor = |incremental: &IncrementalPlan| scan.since.as_ref().map(|since| since.asked_from(incremental));
    let (list, rows, variables, stop_below): (&Arc<ListPlan>, Rows, Variables, Option<(MarkReader, Mark)>) =
        match (lane, &plan.deletes) {
            (Lane::Feed, DeletePlan::Feed(feed)) => {
                let zone = plan.incremental.as_ref().and_then(|incremental| incremental.zone);
                let reader = |(path, format): &(_, _)| MarkReader::new(path, MarkKind::Timestamp, format, zone);
                let mark = feed.field.as_ref().map(reader);
                let format = feed.field.as_ref().map(|(_, format)| format);
                let variables = variables.with_mark(scan.since.as_ref().zip(format), plan.zone());
                (&feed.list, Rows::Keys(KeyReader::new(plan, &feed.key, mark)), variables, None)
            }
            (Lane::Sweep, DeletePlan::Sweep(sweep)) => {
                (&sweep.list, Rows::Keys(KeyReader::new(plan, &sweep.key, None)), variables, None)
            }
            (Lane::Main | Lane::Window(_) | Lane::Feed | Lane::Sweep, _) => {
                let variables = variables.with_watermark(plan, scan);
                let variables = match (range, plan.windows()) {
                    (Some(range), Some((incremental, window))) => {
                        variables.with_window(incremental, &range.from, &range.last(incremental, window))
                    }
                    _ => variables,
                };
                let oldest = field(|plan| plan.client_filter).and_then(floor);
                let list = changes(plan, lane, scan).unwrap_or(&plan.list);
                let shares = plan.models().zip(plan.shares()).map(|(model, (records, only))| {
                    let mapper = Mapper::of(plan, model).filtered_by(list.response.filter.clone());
                    let mapper = mapper.only(only.cloned()).from(oldest.clone());
                    Share { records: records.to_vec(), mapper }
                });
                let stop_below = field(|plan| plan.stop_at_watermark)
                    .and_then(|incremental| Some((MarkReader::of(incremental), floor(incremental)?)));
                (list, Rows::Models(shares.collect()), variables, stop_below)
            }
        };
    let shared = variables.value();
    // where the first one is asked for, the answers that it is not asked with have none
    let token = plan.token.as_ref().filter(|token| token.start.is_none() || scan.since_token.is_some());
    let token = token.filter(|_| lane == Lane::Main).map(|token| token.from.clone());
    let (plan, list) = (Arc::clone(plan), Arc::clone(list));
    let (node, in_window) = (node.clone(), range.is_some());
    Reader { plan, list, rows, client, variables, shared, stop_below, in_window, token, node }
}

/// The list that is read for what changed, if it is another one than that of the records and its turn has come.
fn changes<'p>(plan: &'p SyncPlan, lane: Lane, scan: &ScanState) -> Option<&'p Arc<ListPlan>> {
    let is_first = lane == Lane::Main && begins_changes(plan, scan);
    plan.changes.as_ref().filter(|_| !is_first && matches!(lane, Lane::Main | Lane::Window(_)))
}

/// Whether a list is not closed by its last page: its end tells what is gone, or it may have moved while it was read or came short of what
/// the API counts, and no later scan makes up for that. The watermark cannot wait for the next scan of a window as it does for that of a
/// whole list, because there is none; and what is gone from all partitions is asked once, behind the last of them.
pub(super) fn needs_finish(plan: &SyncPlan, partition: &str, lane: Lane, scan: &ScanState) -> bool {
    is_read_again(plan, partition, lane, scan) || tells_gone(plan, partition, lane, scan)
}

/// Whether a list is read again where it may have moved or came short, whatever is missing.
pub(super) fn is_read_again(plan: &SyncPlan, partition: &str, lane: Lane, scan: &ScanState) -> bool {
    let counts_later = matches!(lane, Lane::Window(_)) || !partition.is_empty() && all_at_once(plan);
    let lacks = scan.by_position || scan.cut_short;
    // the next run reads it again anyway, and the page may be left out each time
    counts_later && lacks && scan.left_out == 0
}

/// Whether the end of a list tells what is gone.
pub(super) fn tells_gone(plan: &SyncPlan, partition: &str, lane: Lane, scan: &ScanState) -> bool {
    match (lane, &plan.deletes) {
        (Lane::Main, DeletePlan::Absence { .. }) if plan.changes.is_some() => is_whole_feed(plan, scan),
        (Lane::Main, DeletePlan::Absence { .. }) => partition.is_empty() || !all_at_once(plan),
        (Lane::Sweep, _) => true,
        (Lane::Main, _) => is_whole_feed(plan, scan),
        (Lane::Window(_), DeletePlan::Absence { scope, .. }) => *scope == Scope::Window,
        (Lane::Window(_) | Lane::Feed, _) => false,
    }
}

pub(super) fn unexplained() -> Error {
    Error::Bug("a page was neither read nor refused".into())
}
