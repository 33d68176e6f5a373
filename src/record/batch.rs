//! Mapped rows on their way to the store.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};

use super::Raw;
use crate::scan::Mark;

/// A batch of fewer rows is a small one.
const SMALL_ROWS: usize = 512;

/// The rows of one page, typed and columnar, with all that the store needs to know about them.
///
/// `rows` has the model's columns in the model's order, in the types of [`super::columns::arrow_type`]. The vectors beside it, and
/// `raw`, have one entry a row.
#[derive(Debug)]
pub struct Batch {
    /// the model's columns
    pub rows: RecordBatch,
    /// xxh3-128 of the typed key values: equal keys of one model have equal hashes
    pub key_hashes: Vec<u128>,
    /// xxh3-64 of the typed values without volatile columns, as `_hash` keeps it
    pub row_hashes: Vec<u64>,
    /// what the record says of its own life
    pub fates: Vec<Fate>,
    /// the records as they came, of a model with `raw`
    pub raw: Option<Raw>,
    /// xxh3-64 of each record as its list had it, if details were asked for it
    pub listed: Option<Vec<Option<u64>>>,
    /// records that are no rows
    pub quarantined: Vec<Quarantined>,
    /// the typed keys of quarantined records whose key could be read (the model's key columns, in key order): they count as seen
    pub quarantined_keys: RecordBatch,
    /// records without a readable key: after one, absence proves nothing
    pub keyless: u64,
    /// records that `where` turned away
    pub filtered: u64,
    /// values that `on_invalid: set_null` made null
    pub nulled: u64,
    /// the highest incremental mark on the page
    pub high: Option<Mark>,
    /// the lowest
    pub low: Option<Mark>,
    /// a mark came behind a higher one
    pub unsorted: bool,
    /// bytes the batch holds in memory, roughly
    pub bytes: usize,
    /// the partition of the fan-out whose page it is
    pub partition: Option<Arc<str>>,
    /// the scan that notes the keys it sees, because its end tells what is gone
    pub seen_by: Option<u64>,
    /// the rows of the nested lists of these rows, in the order of the model's children; none once they are taken out
    pub children: Vec<Option<Children>>,
}

impl Batch {
    /// The same rows in the same order, in fewer batches: a batch costs something itself, of 100 rows about as much as they do. Small ones that
    /// follow each other become one, where they hold rows alone, of one partition and for one scan.
    pub fn join_small(batches: Vec<Self>) -> Vec<Self> {
        let mut joined = Vec::with_capacity(batches.len());
        let mut small: Vec<Self> = Vec::new();
        for batch in batches {
            let rows: usize = small.iter().map(|batch| batch.rows.num_rows()).sum();
            if rows >= 2 * SMALL_ROWS || small.first().is_some_and(|first| !first.joins(&batch)) {
                joined.extend(Self::join(std::mem::take(&mut small)));
            }
            if batch.is_small() { small.push(batch) } else { joined.push(batch) }
        }
        joined.extend(Self::join(small));
        joined
    }

    /// Whether it has few rows, and nothing beside them.
    fn is_small(&self) -> bool {
        let rows_alone = self.raw.is_none() && self.listed.is_none() && self.children.is_empty();
        self.rows.num_rows() < SMALL_ROWS && rows_alone && self.quarantined.is_empty() && self.keyless == 0
    }

    /// Whether another can follow this one in a batch of both.
    fn joins(&self, next: &Self) -> bool {
        let is_alike = self.partition == next.partition && self.seen_by == next.seen_by;
        next.is_small() && is_alike && self.rows.schema_ref() == next.rows.schema_ref()
    }

    /// One batch of small ones that join.
    fn join(batches: Vec<Self>) -> Option<Self> {
        let mut batches = batches.into_iter();
        let mut all = batches.next()?;
        let mut rows = vec![all.rows.clone()];
        for next in batches {
            all.unsorted |= next.unsorted || next.low.is_some() && next.low < all.high;
            all.high = all.high.max(next.high);
            all.low = [all.low, next.low].into_iter().flatten().min();
            all.filtered += next.filtered;
            all.nulled += next.nulled;
            all.bytes += next.bytes;
            all.key_hashes.extend(next.key_hashes);
            all.row_hashes.extend(next.row_hashes);
            all.fates.extend(next.fates);
            rows.push(next.rows);
        }
        if rows.len() > 1 {
            all.rows = concat_batches(all.rows.schema_ref(), &rows).expect("columns of one schema");
        }
        Some(all)
    }

    /// The batch with those rows alone for which `keep` has true.
    #[must_use]
    pub fn only(mut self, keep: &[bool]) -> Self {
        if keep.iter().all(|keep| *keep) {
            return self;
        }
        let wanted = BooleanArray::from(keep.to_vec());
        let rows = self.rows.num_rows();
        self.rows = filter_record_batch(&self.rows, &wanted).expect("there is a yes or no for each row");
        self.bytes = self.bytes / rows * self.rows.num_rows();
        let mut next = keep.iter();
        self.key_hashes.retain(|_| next.next().is_none_or(|keep| *keep));
        let mut next = keep.iter();
        self.row_hashes.retain(|_| next.next().is_none_or(|keep| *keep));
        let mut next = keep.iter();
        self.fates.retain(|_| next.next().is_none_or(|keep| *keep));
        self.key_hashes.shrink_to_fit();
        self.row_hashes.shrink_to_fit();
        self.fates.shrink_to_fit();
        self
    }

    /// Whether it holds nothing that is stored or counted.
    pub fn is_empty(&self) -> bool {
        self.rows.num_rows() == 0 && self.quarantined.is_empty() && self.filtered == 0 && self.nulled == 0
    }

    /// Takes the first `count` rows out, with nothing of what is told of the page. None, and nothing is taken, where there are no more rows than
    /// that, or where they hold more than the model's columns.
    pub fn first(&mut self, count: usize) -> Option<Self> {
        let rows = self.rows.num_rows();
        let are_plain = self.raw.is_none() && self.listed.is_none() && self.children.is_empty();
        if count == 0 || count >= rows || !are_plain {
            return None;
        }
        let bytes = self.bytes / rows * count;
        let first = Self {
            rows: self.rows.slice(0, count),
            key_hashes: self.key_hashes.drain(..count).collect(),
            row_hashes: self.row_hashes.drain(..count).collect(),
            fates: self.fates.drain(..count).collect(),
            raw: None,
            listed: None,
            quarantined: Vec::new(),
            quarantined_keys: self.quarantined_keys.slice(0, 0),
            keyless: 0,
            filtered: 0,
            nulled: 0,
            high: None,
            low: None,
            unsorted: false,
            bytes,
            partition: None,
            seen_by: None,
            children: Vec::new(),
        };
        self.rows = self.rows.slice(count, rows - count);
        self.bytes -= bytes;
        Some(first)
    }
}

/// The rows of one nested list of each row of a page.
#[derive(Debug)]
pub struct Children {
    /// the items
    pub batch: Batch,
    /// per item, the position of the row that it stands in
    pub owners: Vec<usize>,
}

/// The rows that one page of a list of ids speaks of (`deletes.feed`, `deletes.sweep`).
#[derive(Debug)]
pub struct Keys {
    /// the model's key columns, in key order
    pub keys: RecordBatch,
    /// per entry, a hash of its key and its time
    pub hashes: Vec<u64>,
    /// per entry, xxh3-128 of its typed key, as [`Batch::key_hashes`] has it
    pub key_hashes: Vec<u128>,
    /// per entry, its time: since when the row is gone
    pub marks: Vec<Option<Mark>>,
    /// entries whose key or time cannot be read
    pub unreadable: u64,
    /// why the first of them cannot
    pub unreadable_reason: Option<String>,
}

/// What a record says of its own life (`deletes.flag`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// it lives
    Live,
    /// it is deleted; since when, in microseconds since 1970 UTC, if it says
    Deleted(Option<i64>),
}

/// A record that is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// the key as a JSON array of the values as they came (`["a",1]`), if there is one
    pub key: Option<String>,
    /// xxh3-128 of the typed key values as [`Batch::key_hashes`] has it, if the key could be read
    pub key_hash: Option<u128>,
    /// the column at fault, if it is one
    pub column: Option<String>,
    /// stable name of the reason: `type_mismatch`, `missing_key`, `missing_required`, `out_of_range`, `record_too_large`, `not_an_object`, `bad_template`, `schema`
    pub code: &'static str,
    /// the reason in words: a lowercase fragment with literals in backticks
    pub reason: String,
    /// the record's JSON, cut at `limits::QUARANTINE_BYTES_MAX`
    pub record: String,
    /// xxh3-64 of the record's JSON as it came, which is not that of `record` where a secret was masked; none where `record` was cut
    pub record_hash: Option<u64>,
}
