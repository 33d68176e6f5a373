//! What comes after a page: another page, or the end, and whether that end proves anything.
//!
//! ```text
//! Start ──page──▶ Cursor | Url | Page | Offset ──page──▶ … ──▶ End
//!    └──────────────── stuck: the same token again, too many pages, a promise without a token
//! ```

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::Mark;
use super::checkpoint::{Position, ScanState, Tortoise};
use crate::plan::{Order, PageKind, PagePlan, Zone, limits};

/// What one page says about the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageFacts {
    /// records on it, before `where`
    pub records: u64,
    /// the token for the next page as the API gave it: a cursor, or an absolute URL
    pub next: Option<Value>,
    /// whether there is more, if the answer says
    pub has_more: Option<bool>,
    /// records in all, if the answer says
    pub total: Option<u64>,
    /// pages in all, if the answer says
    pub total_pages: Option<u64>,
    /// `stop.when` was true
    pub stop: bool,
    /// the API has no such page (404 behind the last one)
    pub past_end: bool,
    /// a rule of `errors` says that the list ends here
    pub ended: bool,
    /// a rule of `errors` leaves the page out
    pub left_out: bool,
    /// the token of a delta feed, if the answer has one
    pub token: Option<Value>,
    /// a hash of what stands on it; none where it is not asked
    pub content: Option<u64>,
    /// the list is newest first, and has come to what is older than the watermark
    pub reached: bool,
    /// the window holds more than the API gives
    pub split: bool,
}

/// What comes after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// another page, at the state's new position
    More,
    /// nothing; [`ScanState::unproven`] says whether the scan proves what is gone
    Done,
}

/// Why a scan cannot go on. The rows it has brought are kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// the API sends the reader in a circle
    #[error("the API gave the page token `{token}` a second time, after {pages} pages")]
    Cycle {
        /// the token
        token: String,
        /// pages read
        pages: u64,
    },
    /// more pages than the sync allows
    #[error("stopped after {pages} pages, the most this sync may read (`max_pages`), and the API has more")]
    PagesMax {
        /// pages read
        pages: u64,
    },
    /// empty pages without an end
    #[error("{pages} pages in a row had no records, and the API always names another")]
    EmptyPages {
        /// pages in a row
        pages: u32,
    },
    /// the API does not care which page is asked for
    #[error("the API gave the same page {times} times in a row, whatever position was asked for")]
    SamePage {
        /// times
        times: u32,
    },
    /// the answer promises more and does not say where
    #[error("the answer says that there is more, and gives no token for it")]
    NoToken,
    /// the answer promises more behind a page that leads nowhere
    #[error("the answer says that there is more, and has no records, so that the next offset would be the same")]
    NoStep,
}

impl Stuck {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Cycle { .. } => {
                "check where the cursor comes from and where it goes; a cursor record that was deleted meanwhile can cause it too"
            }
            Self::PagesMax { .. } => {
                "raise `max_pages` if the list really is that long; the next run goes on from here"
            }
            Self::EmptyPages { .. } => "check `response.records` and the pagination words",
            Self::SamePage { .. } => "check the parameter that the position goes to: the API does not know it",
            Self::NoToken => "check the path the cursor is taken from",
            Self::NoStep => "check `response.records`, and the path that says whether there is more",
        }
    }
}

impl ScanState {
    /// Moves over one page. After an error the state is as before.
    ///
    /// # Errors
    /// [`Stuck`]: the scan cannot go on.
    pub fn advance(&mut self, plan: &PagePlan, page: &PageFacts) -> Result<Step, Stuck> {
        let before = self.clone();
        let step = self.try_advance(plan, page);
        if step.is_err() {
            *self = before;
        }
        step
    }

    /// Moves over one part of several of an export.
    pub fn advance_part(&mut self, page: &PageFacts, (at, of): (usize, usize)) -> Step {
        self.pages += 1;
        self.records += page.records;
        let next = at + 1;
        self.position = if next < of { Position::Part(next as u64) } else { Position::End };
        if next < of { Step::More } else { Step::Done }
    }

    /// Takes note of how many parts the result of an export has. Parts are known by their numbers alone: where there were others before, all are
    /// read again, and what one of the two lists left out need not be gone.
    pub fn count_parts(&mut self, count: u64) {
        let before = self.job.as_ref().and_then(|job| job.parts);
        if let Position::Part(at) = self.position
            && before.map_or(at >= count, |before| before != count)
        {
            *self = Self { job: self.job.take(), ..self.again_from_start() };
            let before = before.map_or_else(|| format!("more than {at}"), |before| before.to_string());
            self.doubt(&format!("the export told {before} parts before, and tells {count} now"));
        }
        if let Some(job) = &mut self.job {
            job.parts = Some(count);
        }
    }

    fn try_advance(&mut self, plan: &PagePlan, page: &PageFacts) -> Result<Step, Stuck> {
        self.pages += 1;
        self.records += page.records;
        self.empty_pages = if page.records == 0 { self.empty_pages + 1 } else { 0 };
        self.watch_total(page.total);
        // a token is as new as the answer that gives it, and what came since may be on a page that was read before
        // so it may where the API counts otherwise than before, though the page is empty: what was behind the last one may be before it now
        let can_have_moved = page.records > 0 || page.token.is_some() || self.moved;
        self.by_position |= can_have_moved && is_by_position(plan, &self.position);
        if page.token.is_some() {
            self.token.clone_from(&page.token);
        }
        let next = if page.stop {
            self.doubt("the scan was ended by `stop.when`");
            None
        } else if page.past_end {
            self.doubt("the API answered 404 behind the last page");
            self.cut_short = true;
            None
        } else if page.reached || page.ended {
            None
        } else if page.left_out {
            self.doubt("a page was left out");
            self.left_out += 1;
            Some(self.behind_left_out(&plan.kind).ok_or(Stuck::NoToken)?)
        } else {
            self.next_position(&plan.kind, page)?
        };
        let Some(next) = next else {
            if let Some(total) = self.total
                && self.records < total
            {
                let text = format!("the API says there are {total} records and returned {}", self.records);
                self.doubt(&text);
                self.cut_short = true;
            }
            self.position = Position::End;
            return Ok(Step::Done);
        };
        if self.pages >= plan.pages_max {
            return Err(Stuck::PagesMax { pages: self.pages });
        }
        if self.empty_pages >= limits::EMPTY_PAGES_MAX {
            return Err(Stuck::EmptyPages { pages: self.empty_pages });
        }
        self.watch_content(page.content)?;
        self.watch_cycle(&next)?;
        // behind a page that is not full there was nothing that could have slipped to it, unless the server gives less than it is asked for
        self.by_position |= is_by_position(plan, &next) && (page.left_out || !is_short(&plan.kind, page));
        self.position = next;
        Ok(Step::More)
    }

    /// The state as another run goes on with it. What a run gave up as stuck may be mended by then, so that it is looked for anew: a circle
    /// that was left behind must not make a token suspect that now leads on.
    #[must_use]
    pub fn resumed(self) -> Self {
        Self { tortoise: None, content: None, empty_pages: 0, ..self }
    }

    /// How far a watermark may follow this scan. While a list of several pages is read, a record can change behind the reader and others
    /// before it, and what those bear is seen while that is not. All that bear times before the scan began were there to be seen; clocks that
    /// differ are allowed for.
    ///
    /// One that reads everything before another list tells of changes covers what was there when it began, whatever its records bear.
    pub fn reached(&self, zone: Zone) -> Option<Mark> {
        self.covers.clone().or_else(|| self.seen_before(zone))
    }

    fn seen_before(&self, zone: Zone) -> Option<Mark> {
        let high = self.high.clone()?;
        Some(if self.pages > 1 { high.not_after(self.started_at - limits::CLOCK_SKEW_MAX, zone) } else { high })
    }

    /// The token behind which the next scan reads: of a scan with one of its own, what its last page says comes too late.
    pub fn last_token(&self) -> Option<Value> {
        self.start_token.clone().or_else(|| self.token.clone())
    }

    /// Whether no record can have slipped past the reader: from a page that was still to be read to one that had been. It happens when a
    /// list is read by position, and a record before that position goes away or changes its place; and where the end was none.
    ///
    /// Nothing has moved where the API counts the records, always counted the same, returned as many, and none of them is newer than the
    /// scan. Of a list in no order by marks that are no times, and of one that is read by a token, it cannot be told which of them came
    /// while it was read.
    pub fn is_settled(&self, order: Order, zone: Zone) -> bool {
        let is_old = match &self.high {
            Some(Mark::Timestamp(_) | Mark::Date(_)) => self.seen_before(zone) == self.high,
            Some(Mark::Integer(_) | Mark::Text(_)) => false,
            None => self.records == 0,
        };
        let counted = !self.moved && self.total == Some(self.records);
        let is_time = !matches!(self.high, Some(Mark::Integer(_) | Mark::Text(_)));
        !self.cut_short
            && (!self.by_position || counted && is_old)
            && (self.pages <= 1 || order != Order::None || is_time)
    }

    /// Whether it has returned the same records as the time before, so that nothing has moved from the middle of the one reading to that of
    /// the other. Where the API counted otherwise meanwhile, something has: the reading before may have come short by just what moved.
    pub fn agrees(&self) -> bool {
        !self.moved && self.previous == Some((self.records, self.digest))
    }

    /// Whether the list was read as often as one run reads it.
    pub fn is_restless(&self) -> bool {
        self.rounds + 1 >= limits::ROUNDS_MAX
    }

    /// The first reason is kept: an end proves nothing once anything was in doubt.
    pub fn doubt(&mut self, reason: &str) {
        self.unproven.get_or_insert_with(|| reason.to_owned());
    }

    fn watch_total(&mut self, total: Option<u64>) {
        self.moved |= self.total.is_some() && total.is_some() && self.total != total;
        self.total = total.or(self.total);
    }

    /// A list that moves can bring the same page twice; one whose position is ignored brings it for ever.
    fn watch_content(&mut self, content: Option<u64>) -> Result<(), Stuck> {
        let Some(content) = content else { return Ok(()) };
        let times = match self.content {
            Some((known, times)) if known == content => times + 1,
            _ => 1,
        };
        if times >= limits::SAME_PAGES_MAX {
            return Err(Stuck::SamePage { times });
        }
        self.content = Some((content, times));
        Ok(())
    }

    /// Where the next page is when this one says nothing; none where only this one would tell.
    fn behind_left_out(&self, kind: &PageKind) -> Option<Position> {
        match (kind, &self.position) {
            (PageKind::Page { .. }, Position::Page(number)) => Some(Position::Page(number + 1)),
            (PageKind::Page { start, .. }, _) => Some(Position::Page(start + 1)),
            (PageKind::Offset { limit, .. }, Position::Offset(offset)) => Some(Position::Offset(offset + limit)),
            (PageKind::Offset { limit, start, .. }, _) => Some(Position::Offset(start + limit)),
            _ => None,
        }
    }

    fn next_position(&mut self, kind: &PageKind, page: &PageFacts) -> Result<Option<Position>, Stuck> {
        let is_none = |token: &Value| matches!(token, Value::Null | Value::Bool(false)) || token.as_str() == Some("");
        let token = page.next.clone().filter(|token| !is_none(token));
        Ok(match kind {
            PageKind::None => None,
            PageKind::Link { .. } | PageKind::NextUrl { .. } => match token {
                Some(Value::String(url)) => Some(Position::Url(url)),
                _ => None,
            },
            PageKind::Cursor { .. } | PageKind::Relay { .. } => match (page.has_more, token) {
                (Some(false), _) => None,
                (Some(true), None) => return Err(Stuck::NoToken),
                (_, token) => token.map(Position::Cursor),
            },
            PageKind::Offset { limit, start, .. } => {
                let offset = match self.position {
                    Position::Offset(offset) => offset,
                    _ => *start,
                };
                // a server may send fewer than asked for (a silent cap): only what came is skipped
                let next = offset + page.records;
                let at_total = page.total.is_some_and(|total| next.saturating_sub(*start) >= total);
                if page.records == 0 && page.has_more == Some(true) && !at_total {
                    return Err(Stuck::NoStep);
                }
                self.goes_on(Some(*limit), at_total, page).then_some(Position::Offset(next))
            }
            PageKind::Page { start, size, .. } => {
                let number = match self.position {
                    Position::Page(number) => number,
                    _ => *start,
                };
                let at_total = page.total_pages.is_some_and(|pages| number + 1 - start >= pages)
                    || page.total.is_some_and(|total| self.records >= total);
                self.goes_on(*size, at_total, page).then_some(Position::Page(number + 1))
            }
        })
    }

    /// Whether a counted list goes on. The better sign decides: what the API says of the next page, then what it says of all, then an
    /// empty page, then a short page of a server that was seen to honour the size. It has no more where both a total that is reached and an
    /// empty page say so, whatever else it says.
    fn goes_on(&mut self, size: Option<u64>, at_total: bool, page: &PageFacts) -> bool {
        let knows_total = page.total.is_some() || page.total_pages.is_some();
        match page.has_more {
            Some(true) => return page.records > 0 || !at_total,
            Some(false) => return false,
            None if page.records == 0 || at_total => return false,
            None if knows_total => return true,
            None => {}
        }
        match size {
            Some(size) if page.records >= size => {
                self.size_honoured = true;
                true
            }
            Some(_) => !self.size_honoured,
            None => true,
        }
    }

    /// Brent's algorithm: one remembered token finds any cycle in time proportional to it, in a state of fixed size.
    fn watch_cycle(&mut self, next: &Position) -> Result<(), Stuck> {
        let text = match next {
            Position::Cursor(Value::String(text)) => text.clone(),
            Position::Cursor(value) => value.to_string(),
            Position::Url(url) => url.clone(),
            Position::Start | Position::Page(_) | Position::Offset(_) | Position::Part(_) | Position::End => {
                return Ok(());
            }
        };
        let token = xxh3_64(text.as_bytes());
        let stays = &self.position == next;
        let tortoise = self.tortoise.get_or_insert(Tortoise { token, steps: 0, power: 1 });
        if stays || (tortoise.steps > 0 && tortoise.token == token) {
            return Err(Stuck::Cycle {
                token: text.chars().take(limits::QUOTED_CHARS_MAX).collect(),
                pages: self.pages,
            });
        }
        tortoise.steps += 1;
        if tortoise.steps > tortoise.power {
            *tortoise = Tortoise { token, steps: 1, power: tortoise.power * 2 };
        }
        Ok(())
    }
}

/// Whether the page has fewer records than were asked for.
fn is_short(kind: &PageKind, page: &PageFacts) -> bool {
    match kind {
        PageKind::Offset { limit, .. } => page.records < *limit,
        PageKind::Page { size: Some(size), .. } => page.records < *size,
        _ => false,
    }
}

/// Whether a place is told by the number of pages or records before it, and not by what they are.
fn is_by_position(plan: &PagePlan, position: &Position) -> bool {
    match position {
        Position::Start | Position::End | Position::Part(_) => false,
        Position::Page(_) | Position::Offset(_) => true,
        Position::Cursor(_) => plan.by_position == Some(true),
        Position::Url(url) => plan.by_position.unwrap_or_else(|| url_counts(url)),
    }
}

/// Whether a URL has a parameter that counts, and none that leads to the page without it.
fn url_counts(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let has = |is: fn(&str, &str) -> bool| url.query_pairs().any(|(name, value)| is(&bare(&name), &value));
    has(counts) && !has(leads)
}

/// Names that APIs have for a position in their next links, without case, `_`, `-`, `$` and brackets.
const COUNTERS: [&str; 14] = [
    "page",
    "p",
    "pg",
    "pagenumber",
    "pageno",
    "pagenum",
    "pageindex",
    "offset",
    "skip",
    "start",
    "startat",
    "startindex",
    "pageoffset",
    "from",
];

/// Names that APIs have for a token of the page; where there is one, a number beside it is for the reader's own use.
const TOKENS: [&str; 9] = [
    "pagetoken",
    "nextpagetoken",
    "nexttoken",
    "continuationtoken",
    "paginationtoken",
    "skiptoken",
    "cursor",
    "pagecursor",
    "nextcursor",
];

/// The name of a parameter without case and signs.
fn bare(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

fn counts(name: &str, value: &str) -> bool {
    // longer numbers are times and ids
    COUNTERS.contains(&name)
        && !value.is_empty()
        && value.len() <= 9
        && value.bytes().all(|digit| digit.is_ascii_digit())
}

/// One without letters (`0:100:0`) can count too.
fn leads(name: &str, value: &str) -> bool {
    TOKENS.contains(&name) && value.contains(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
