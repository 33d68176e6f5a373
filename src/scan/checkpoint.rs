//! What a sync remembers between runs. Written in the transaction that makes it true.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ListsRead, Mark, Pass, Turn, Windows};
use crate::plan::{Order, Zone, limits};

/// The version written today. An unknown version is refused, never guessed at; version 1 is this one without windows, tokens and lists
/// of what is gone.
pub const VERSION: u32 = 2;

/// All that a sync remembers. A run begins by reading this and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// of this form
    pub version: u32,
    /// of the plan it was made by; another plan's state is not resumed
    pub fingerprint: u64,
    /// the sync's own list
    #[serde(flatten)]
    pub main: Track,
    /// the token of a delta feed: what comes after it is not read
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Value>,
    /// the token that the last scan got, where the list may have moved under it: the next one asks with the one before once more
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ahead: Option<Value>,
    /// how far the windows are
    #[serde(default, skip_serializing_if = "Windows::is_new")]
    pub windows: Windows,
    /// the list of what was deleted (`deletes.feed`)
    #[serde(default, skip_serializing_if = "Feed::is_new")]
    pub feed: Feed,
    /// the list of all ids (`deletes.sweep`)
    #[serde(default, skip_serializing_if = "Track::is_new")]
    pub sweep: Track,
    /// of a fan-out, in what its partitions share: the pass under way
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Pass>,
    /// the same, of one over lists below rows: which of them are read
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists: Option<ListsRead>,
    /// of a partition: its place in the pass
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// names the time since all was forgotten last: what lists said of records before that counts for nothing; 0 = it has no name yet
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
}

/// How far one list is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// everything up to here is covered and committed
    pub watermark: Option<Mark>,
    /// what the last scan saw, where the list may have moved under it: the next one reads from the watermark once more
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<Mark>,
    /// when the last complete scan began
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<DateTime<Utc>>,
    /// the scan under way; none between two scans
    pub scan: Option<ScanState>,
}

/// How far the list of what was deleted is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// as any list
    #[serde(flatten)]
    pub track: Track,
    /// entries that this scan reads again, by a hash of key and time: they have been applied, and what has come back since must stay
    #[serde(default)]
    pub applied: Vec<u64>,
    /// there were too many to remember: rows that came after this time stay, whatever entries up to `forgot_up_to` say
    #[serde(default)]
    pub forgot_at: Option<DateTime<Utc>>,
    /// the latest of those that are not remembered
    #[serde(default)]
    pub forgot_up_to: Option<Mark>,
    /// the latest entries that this scan has read
    #[serde(default)]
    pub reading: Vec<(u64, Mark)>,
    /// the latest of those that were too many to remember
    #[serde(default)]
    pub dropped: Option<Mark>,
}

/// A scan under way, after its last committed page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanState {
    /// names the scan over all the runs it takes
    pub id: u64,
    /// when its first request was made
    pub started_at: DateTime<Utc>,
    /// the watermark its requests are made with
    pub since: Option<Mark>,
    /// the token its requests are made with
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_token: Option<Value>,
    /// the token that the API gave last
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Value>,
    /// the token that was asked for before its first page: what follows it is told behind this one
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_token: Option<Value>,
    /// it reads everything, and behind this time changes are told by another list
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers: Option<Mark>,
    /// the highest mark it has seen
    pub high: Option<Mark>,
    /// a mark came behind a higher one
    #[serde(default)]
    pub unsorted: bool,
    /// where the next page is
    pub position: Position,
    /// pages committed so far
    pub pages: u64,
    /// records seen so far, valid or not
    pub records: u64,
    /// of which so many were for each of several models, behind `where`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of_models: Vec<u64>,
    /// empty pages in a row
    pub empty_pages: u32,
    /// the server has sent a page of exactly the asked size, so that a shorter one means the end
    pub size_honoured: bool,
    /// pages were asked for by their position in the list, so that a record can have slipped past the reader while it moved
    #[serde(default)]
    pub by_position: bool,
    /// times that the whole list was read before
    #[serde(default)]
    pub rounds: u32,
    /// what tells the records that it has returned this time from others: the sum of hashes of their keys
    #[serde(default)]
    pub digest: u64,
    /// how many it returned the time before, and their digest
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<(u64, u64)>,
    /// why an end of this scan would prove nothing about what is gone
    pub unproven: Option<String>,
    /// the list may have been longer than what came
    #[serde(default)]
    pub cut_short: bool,
    /// pages that were left out (`skip_page`)
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// the number of all records as the API said it last
    #[serde(default)]
    pub total: Option<u64>,
    /// that number was another one before
    #[serde(default)]
    pub moved: bool,
    /// the guard refused what this scan would delete; it waits for `--accept-deletes`
    #[serde(default)]
    pub guarded: bool,
    /// what stood on the last page, and how often in a row
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<(u64, u32)>,
    /// the export that is waited for, or whose result is read
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// it starts over because the API keeps changes only so long, and reads all there is: what it does not return is gone
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// for the detection of cycles (Brent): a token seen earlier, and how many pages until it moves up
    pub tortoise: Option<Tortoise>,
}

/// An export under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// as the API gave it
    pub id: Value,
    /// when it was started
    pub started_at: DateTime<Utc>,
    /// the parts of its result, when they were counted last
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u64>,
}

/// Brent's cycle detection over page tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tortoise {
    /// hash of the remembered token
    pub token: u64,
    /// pages since it was taken
    pub steps: u64,
    /// the tortoise moves when `steps` gets here; doubles each time
    pub power: u64,
}

/// Where the next page is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// at the first page
    Start,
    /// behind this cursor, as the API gave it (text or number)
    Cursor(Value),
    /// at this URL
    Url(String),
    /// at this page number
    Page(u64),
    /// behind this many records
    Offset(u64),
    /// behind this many parts of an export
    Part(u64),
    /// everything is read; what is gone may be deleted
    End,
}

/// Which list of a sync a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// its records
    Main,
    /// its records of one window, by the id of its scan
    Window(u64),
    /// what was deleted
    Feed,
    /// all ids
    Sweep,
}

impl Checkpoint {
    /// The checkpoint of a sync that has never run.
    pub fn new(fingerprint: u64) -> Self {
        Self {
            version: VERSION,
            fingerprint,
            main: Track::default(),
            token: None,
            token_ahead: None,
            windows: Windows::default(),
            feed: Feed::default(),
            sweep: Track::default(),
            pass: None,
            lists: None,
            turn: None,
            epoch: 0,
        }
    }

    /// The scan of a lane that is under way.
    pub fn scan(&self, lane: Lane) -> Option<&ScanState> {
        match lane {
            Lane::Main => self.main.scan.as_ref(),
            Lane::Window(id) => self.windows.open.iter().map(|window| &window.scan).find(|scan| scan.id == id),
            Lane::Feed => self.feed.track.scan.as_ref(),
            Lane::Sweep => self.sweep.scan.as_ref(),
        }
    }

    /// The scan of a lane that is under way.
    pub fn scan_mut(&mut self, lane: Lane) -> Option<&mut ScanState> {
        match lane {
            Lane::Main => self.main.scan.as_mut(),
            Lane::Window(id) => self.windows.open.iter_mut().map(|window| &mut window.scan).find(|scan| scan.id == id),
            Lane::Feed => self.feed.track.scan.as_mut(),
            Lane::Sweep => self.sweep.scan.as_mut(),
        }
    }

    /// Every scan under way.
    pub fn scans_mut(&mut self) -> impl Iterator<Item = &mut ScanState> {
        let Self { main, windows, feed, sweep, .. } = self;
        let windows = windows.open.iter_mut().map(|window| &mut window.scan);
        main.scan.iter_mut().chain(windows).chain(feed.track.scan.iter_mut()).chain(sweep.scan.iter_mut())
    }

    /// The exports under way.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        let windows = self.windows.open.iter().map(|window| &window.scan);
        self.main.scan.iter().chain(windows).filter_map(|scan| scan.job.as_ref())
    }

    /// Whether nothing is half done.
    pub fn is_complete(&self) -> bool {
        let rests = self.main.scan.is_none() && self.feed.track.scan.is_none() && self.sweep.scan.is_none();
        rests && self.windows.is_complete() && self.pass.is_none()
    }

    /// The state after `scan` has come so far. A watermark moves with the pages only where the API lists the oldest first, keeps to that,
    /// and is not read by position; never over a page that was left out.
    pub fn after_page(&mut self, lane: Lane, scan: ScanState, order: Order, zone: Zone) {
        let in_order = order == Order::Ascending && !scan.unsorted && !scan.by_position && scan.left_out == 0;
        if lane == Lane::Main && in_order && scan.covers.is_none() {
            self.main.watermark = self.main.watermark.take().max(scan.reached(zone));
        }
        match lane {
            Lane::Main => self.main.scan = Some(scan),
            Lane::Feed => self.feed.track.scan = Some(scan),
            Lane::Sweep => self.sweep.scan = Some(scan),
            Lane::Window(_) => {
                if let Some(known) = self.scan_mut(lane) {
                    *known = scan;
                }
            }
        }
    }

    /// The state after the scan of a lane is complete. `order` is that of the main list, `zone` the one whose clock the API goes by. One that
    /// left out a page covers nothing: the next one reads the same stretch.
    pub fn after_scan(&mut self, lane: Lane, order: Order, zone: Zone) {
        match lane {
            Lane::Main if self.main.is_short() => self.main.scan = None,
            Lane::Main => {
                if let Some((token, settled)) =
                    self.main.scan.as_ref().and_then(|scan| Some((scan.last_token()?, scan.is_settled(order, zone))))
                {
                    // as a watermark does: what two scans have read is covered
                    self.token = self.token_ahead.take().or(self.token.take());
                    let place = if settled { &mut self.token } else { &mut self.token_ahead };
                    *place = Some(token);
                }
                self.main.close(order, zone);
            }
            Lane::Feed => self.feed.close(zone),
            Lane::Sweep => self.sweep.close(Order::None, zone),
            Lane::Window(id) if self.scan(lane).is_some_and(|scan| scan.left_out > 0) => self.windows.give_up(id),
            Lane::Window(id) => {
                let started_at = self.windows.close(id);
                self.main.watermark = self.main.watermark.take().max(self.windows.covered());
                if self.windows.is_complete() {
                    self.main.completed_at = self.main.completed_at.max(started_at);
                }
            }
        }
    }
}

impl Feed {
    /// Notes an entry that is applied.
    pub fn note(&mut self, hash: u64, mark: Mark) {
        self.reading.push((hash, mark));
        if self.reading.len() > 2 * limits::FEED_APPLIED_MAX {
            self.reading.sort_by(|a, b| b.1.cmp(&a.1));
            let dropped = self.reading.split_off(limits::FEED_APPLIED_MAX).into_iter().next().map(|(_, mark)| mark);
            self.dropped = self.dropped.take().max(dropped);
        }
    }

    /// The scan is complete: what the next one will read again is remembered.
    fn close(&mut self, zone: Zone) {
        let began = self.track.scan.as_ref().map(|scan| scan.started_at);
        self.track.close(Order::None, zone);
        let from = self.track.watermark.clone().map(|from| from.before_doubled(zone));
        let again = |mark: &Mark| from.as_ref().is_none_or(|from| mark >= from);
        self.applied = self.reading.drain(..).filter(|(_, mark)| again(mark)).map(|(hash, _)| hash).collect();
        self.forgot_up_to = self.dropped.take().filter(again);
        self.forgot_at = began.filter(|_| self.forgot_up_to.is_some());
    }

    fn is_new(&self) -> bool {
        *self == Self::default()
    }
}

impl Track {
    fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the scan under way has left out a page.
    fn is_short(&self) -> bool {
        self.scan.as_ref().is_some_and(|scan| scan.left_out > 0)
    }

    /// The scan is complete: everything up to the highest mark it saw is covered, if nothing can have slipped past it. Else that is so
    /// after the next scan, which reads the same stretch once more; what the scan before saw has now been read twice.
    fn close(&mut self, order: Order, zone: Zone) {
        let is_short = self.is_short();
        let Some(scan) = self.scan.take().filter(|_| !is_short) else { return };
        let ahead = self.ahead.take();
        self.watermark = self.watermark.take().max(ahead);
        let reached = scan.reached(zone);
        if scan.is_settled(order, zone) {
            self.watermark = self.watermark.take().max(reached);
        } else {
            self.ahead = reached.filter(|high| self.watermark.as_ref().is_none_or(|watermark| high > watermark));
        }
        self.completed_at = self.completed_at.max(Some(scan.started_at));
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl ScanState {
    /// A scan before its first page.
    pub fn begin(id: u64, now: DateTime<Utc>, since: Option<Mark>) -> Self {
        Self {
            id,
            started_at: now,
            since,
            since_token: None,
            token: None,
            start_token: None,
            covers: None,
            high: None,
            unsorted: false,
            position: Position::Start,
            pages: 0,
            records: 0,
            of_models: Vec::new(),
            empty_pages: 0,
            size_honoured: false,
            by_position: false,
            rounds: 0,
            digest: 0,
            previous: None,
            unproven: None,
            cut_short: false,
            left_out: 0,
            total: None,
            moved: false,
            guarded: false,
            content: None,
            job: None,
            whole: false,
            tortoise: None,
        }
    }

    /// The scan before its first page, with what its requests are made with.
    #[must_use]
    pub fn again_from_start(&self) -> Self {
        Self {
            since_token: self.since_token.clone(),
            start_token: self.start_token.clone(),
            covers: self.covers.clone(),
            unproven: self.unproven.clone(),
            whole: self.whole,
            ..Self::begin(self.id, self.started_at, self.since.clone())
        }
    }

    /// The scan at its first page again, with all that it has seen.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            since_token: self.since_token.clone(),
            start_token: self.start_token.clone(),
            covers: self.covers.clone(),
            high: self.high.clone(),
            unsorted: self.unsorted,
            rounds: self.rounds + 1,
            previous: Some((self.records, self.digest)),
            unproven: self.unproven.clone(),
            cut_short: self.cut_short,
            left_out: self.left_out,
            whole: self.whole,
            ..Self::begin(self.id, self.started_at, self.since.clone())
        }
    }
}
