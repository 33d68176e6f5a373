//! A page of JSON read in one pass: its records become rows while they are near, and none is kept.

use bumpalo::Bump;

use super::Error;
use super::answer::{Mapped, PageRows, Reader, Rows, Share};
use super::facts::Tail;
use crate::plan::Format;
use crate::record::json::Json;
use crate::record::stream::Way;
use crate::record::{parse_each, unpack};
use crate::remote::{Request, Response};
use crate::scan::PageFacts;

/// What an answer says about the next one, and its rows.
pub(super) type Read = (PageFacts, Result<Mapped, Error>);

impl Reader {
    /// Reads an answer in one pass. None where the sync needs all records at once, or where the answer is not as it should be: it is to be read
    /// as a whole then, which also says what is wrong with it.
    ///
    /// # Errors
    /// What the answer says of itself: that it is a failure.
    pub(super) fn read_in_one_pass(
        &self,
        request: &Request,
        (response, accepted): (&Response, bool),
    ) -> Option<Result<Read, Error>> {
        let (share, way) = self.only_list()?;
        let files = unpack(&response.body).ok()?;
        let [file] = files.as_slice() else { return None };
        let (mut tail, mut mapping, mut failed) = (Tail::default(), None, None);
        let arena = Bump::new();
        let body = parse_each(&arena, file, way.names(), &mut |records, part| {
            let records: Vec<&Json<'_>> = records.iter().collect();
            tail.add(self, &records);
            let mapping = mapping.get_or_insert_with(|| share.mapper.begin(in_all(records.len(), part)));
            if failed.is_none() {
                failed = mapping.add(records, &self.shared).err();
            }
            true
        })?;
        let facts = self
            .records(request, (response, accepted), (&body, tail.records > 0))
            .and_then(|_| self.facts(request, response, &body, &tail));
        let mapped = match failed {
            Some(error) => Err(error),
            None => Ok(mapping.unwrap_or_else(|| share.mapper.begin(0)).finish()),
        };
        let rows = |batch| Mapped::Rows(PageRows { batches: vec![batch], ..PageRows::default() });
        Some(facts.map(|facts| (facts, self.mapped(mapped).map(rows))))
    }

    /// Whose rows the records become, and how their list is found, where each record can be let go of before the next one comes.
    fn only_list(&self) -> Option<(&Share, Way)> {
        let Rows::Models(shares) = &self.rows else { return None };
        let ([share], [listed], Format::Json) =
            (shares.as_slice(), self.list.response.records.as_slice(), &self.list.response.format)
        else {
            return None;
        };
        let way = Way::of_list(listed)?;
        let is_plain = share.records.is_empty() && self.plan.details.is_empty() && self.plan.walk.is_none();
        (is_plain && self.tells(&way, true)).then_some((share, way))
    }
}

/// About how many records there are, of which some are this part; rather a few more, as room for too few is doubled.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "it only makes room"
)]
fn in_all(some: usize, part: f64) -> usize {
    (1.1 * some as f64 / part).ceil() as usize
}
