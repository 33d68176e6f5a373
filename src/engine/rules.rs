//! The rules of `errors`: what an answer means that is not what was asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::answer::Reader;
use super::error::{Error, RuleEnd};
use crate::plan::{ErrorAction, ErrorRule, limits};
use crate::remote::{Client, Request, Response};

/// Bodies up to this long are looked at where they come in; longer ones on a thread that may take its time.
const SHORT_BODY_BYTES: usize = 32 << 10;

/// What the rules make of an answer.
pub(super) enum Ruling {
    /// it is what its status says
    None,
    /// the request is tried again, as `retry` says, or after so long, which the answer tells
    Again(Option<Duration>),
    /// it is a success
    Accept,
    /// a page without records, and the end of the list
    Empty,
    /// the page is left out; why, for people
    LeftOut(Error),
    /// the token is renewed, and the request sent once more
    Renew,
}

/// The place of a rule that fits, and how long the answer tells to wait.
type Fit = (usize, Option<Duration>);

/// The rules for the answers to one request.
pub(super) struct Rules<'r> {
    reader: &'r Arc<Reader>,
    request: &'r Request,
    /// how often each rule has fitted
    times: HashMap<usize, u32>,
    renewed: u32,
}

impl<'r> Rules<'r> {
    pub(super) fn new(reader: &'r Arc<Reader>, request: &'r Request) -> Self {
        Self { reader, request, times: HashMap::new(), renewed: 0 }
    }

    /// The way to the API.
    pub(super) fn client(&self) -> &'r Client {
        &self.reader.client
    }

    /// What the first rule says that fits: those of the sync come first.
    ///
    /// # Errors
    /// [`Error::Rule`] where the rule ends the request.
    pub(super) async fn rule(&mut self, response: &Response) -> Result<Ruling, Error> {
        let Some((at, wait)) = self.first(response).await? else { return Ok(Ruling::None) };
        let Some(rule) = rules(self.reader).nth(at) else { return Ok(Ruling::None) };
        let times = self.times.entry(at).or_insert(0);
        *times += 1;
        if *times < rule.after {
            return Ok(Ruling::Again(wait));
        }
        let end = match rule.then {
            ErrorAction::Retry => return Ok(Ruling::Again(wait)),
            ErrorAction::Accept => return Ok(Ruling::Accept),
            ErrorAction::Empty => return Ok(Ruling::Empty),
            ErrorAction::SkipPage => return Ok(Ruling::LeftOut(self.end(response, rule, RuleEnd::PageLeftOut))),
            ErrorAction::RefreshAuth if self.may_renew(response) => return Ok(Ruling::Renew),
            ErrorAction::RefreshAuth => RuleEnd::NewTokenRefused,
            ErrorAction::Fail => RuleEnd::Fail,
            ErrorAction::SkipPartition if self.reader.variables.are_of_partition() => RuleEnd::PartitionLeftOut,
            ErrorAction::SkipPartition => RuleEnd::NoPartition,
            ErrorAction::Reset => RuleEnd::Reset,
            ErrorAction::Reconnect => RuleEnd::Reconnect,
        };
        let error = self.end(response, rule, end);
        if end == RuleEnd::Reconnect {
            self.reader.client.needs_reconnect(&error.to_string()).await?;
        }
        Err(error)
    }

    /// Whether a token that was refused is followed by another one for this request: once, and again only if others had got in with the
    /// refused one, so that it may have ended since.
    pub(super) fn may_renew(&mut self, refused: &Response) -> bool {
        let may = self.renewed == 0 || (self.renewed < limits::RENEWALS_MAX && self.client().has_got_in(refused));
        self.renewed += u32::from(may);
        may
    }

    fn end(&self, response: &Response, rule: &ErrorRule, end: RuleEnd) -> Error {
        let client = &self.reader.client;
        Error::Rule {
            request: client.masked(self.request),
            status: response.status,
            message: rule.message.clone().unwrap_or_default(),
            end,
            excerpt: client.excerpt(response),
        }
    }

    /// The first rule that fits.
    async fn first(&self, response: &Response) -> Result<Option<Fit>, Error> {
        let status = response.status;
        let Some(first) = rules(self.reader).position(|rule| may_fit(rule, status)) else { return Ok(None) };
        if rules(self.reader).nth(first).is_some_and(|rule| rule.when.is_none() && rule.wait.is_none()) {
            return Ok(Some((first, None)));
        }
        if response.body.len() <= SHORT_BODY_BYTES {
            return first_of(self.reader, response);
        }
        let (reader, response) = (Arc::clone(self.reader), response.clone());
        let found = tokio::task::spawn_blocking(move || first_of(&reader, &response)).await;
        found.map_err(|error| Error::Bug(error.to_string()))?
    }
}

/// The rules of the sync, then those of its provider.
fn rules(reader: &Reader) -> impl Iterator<Item = &ErrorRule> {
    reader.plan.errors.iter().chain(&reader.plan.connection.errors)
}

fn may_fit(rule: &ErrorRule, status: u16) -> bool {
    rule.status.is_none_or(|known| known == status)
}

fn first_of(reader: &Reader, response: &Response) -> Result<Option<Fit>, Error> {
    let conditions: Vec<_> = rules(reader)
        .enumerate()
        .filter(|(_, rule)| may_fit(rule, response.status))
        .map(|(at, rule)| (at, rule.when.as_ref()))
        .collect();
    let at = reader.first_that_holds("errors.when", &conditions, response)?;
    let wait = |at: usize| reader.wait_told(rules(reader).nth(at)?.wait.as_ref()?, response);
    Ok(at.map(|at| (at, wait(at))))
}
