use std::sync::Arc;

use crate::plan::{ListPlan, ModelPlan, Path, Predicate, ValuePlan};

/// The request once for each item, levels in levels, and for each place of a walk.
#[derive(Debug, Clone)]
pub struct PartitionPlan {
    /// from the outermost to the innermost; none where there is only a walk
    pub levels: Vec<LevelPlan>,
    /// partitions that are read at once
    pub concurrency: usize,
    /// a partition that cannot be read fails the run
    pub fail_on_error: bool,
}

/// One level of a fan-out.
#[derive(Debug, Clone)]
pub struct LevelPlan {
    /// templates name the item as `parent.<name>`
    pub name: String,
    /// where the items come from
    pub from: LevelSource,
}

/// Where the items of a fan-out come from.
#[derive(Debug, Clone)]
pub enum LevelSource {
    /// a list
    Values(ValuePlan),
    /// the rows of a table of this connection
    Rows {
        /// the sync that fills it
        sync: String,
        /// whose rows they are
        model: Arc<ModelPlan>,
        /// only rows for which it holds
        filter: Option<Predicate>,
        /// only rows that changed since their partition was read
        changed_only: bool,
    },
    /// the API is asked
    List {
        /// how
        list: Arc<ListPlan>,
        /// what tells one item from another
        key: Path,
    },
}

/// Lists in lists.
#[derive(Debug, Clone)]
pub struct WalkPlan {
    /// the records that lead further down
    pub into: Predicate,
    /// what the next request needs of them, by name
    pub bind: Vec<(String, Path)>,
    /// what the first requests get; none = one request with nothing
    pub start: Option<ValuePlan>,
    /// levels below the first one
    pub depth_max: u32,
}

/// One more request for each record, or for each batch of records.
#[derive(Debug, Clone)]
pub struct DetailPlan {
    /// the request, and where the details stand
    pub list: Arc<ListPlan>,
    /// what of the answer is the detail
    pub shape: DetailShape,
    /// the member of the record that the detail becomes; none = it takes the record's place
    pub member: Option<String>,
    /// records that share a request
    pub batch: Option<BatchPlan>,
    /// requests at once
    pub concurrency: usize,
    /// only for records for which it holds
    pub when: Option<Predicate>,
    /// only for records that changed
    pub only_changed: bool,
    /// what a 404 means
    pub on_missing: OnMissing,
}

/// Records that share a request for their details.
#[derive(Debug, Clone)]
pub struct BatchPlan {
    /// how many
    pub size: usize,
    /// where a record has what tells it from others
    pub record_key: Path,
    /// where a detail has the same
    pub detail_key: Path,
    /// a record may have several: they become a list
    pub list: bool,
}

/// What of an answer is the detail of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetailShape {
    /// all of it
    Whole,
    /// the one value at its path
    One,
    /// the list of all values at its paths
    List,
    /// of a batch, the value that has the same key
    Keyed,
}

/// What it means that a record has no detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// the run fails
    Fail,
    /// the record is kept without it
    Skip,
    /// the record was deleted
    Delete,
}
