//! Records to rows: select, coerce, judge, hash. What does not fit is kept with a reason.

use std::fmt::Write;
use std::ops::Range;

use chrono::{DateTime, NaiveDate};
use minijinja::value::Serde;
use minijinja::{Value, context};
use xxhash_rust::xxh3::xxh3_64;

use super::coerce::{Cell, Coercion, Reason};
use super::page::{Layout, Page};
use super::select::{Places, Scope, first, first_near, select};
use super::{Batch, Fate, Json, Quarantined, excerpt, row};
use crate::plan::limits::{BATCH_BYTES_MAX, QUARANTINE_BYTES_MAX, RECORD_BYTES_MAX};
use crate::plan::{
    Breach, ChildPlan, ColumnSource, ColumnType, DeletePlan, IncrementalPlan, MarkKind, ModelPlan, OnInvalid, Path,
    PathForm, Predicate, RowSchema, Step, SyncPlan, Template, TimeFormat, Zone,
};
use crate::scan::Mark;

/// Why a page cannot become rows. Such a page is not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// a record does not fit, and the model says `on_invalid: fail`
    #[error("{}", describe(.0))]
    Invalid(Box<Quarantined>),
    /// the rows would take more memory than a page may
    #[error("the rows of one page take more than {BATCH_BYTES_MAX} bytes")]
    TooLarge,
}

impl MapError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Invalid(_) => {
                "correct the model, or let `on_invalid: quarantine` keep such records in `headwater.quarantine`"
            }
            Self::TooLarge => "ask for smaller pages, or select less of each record",
        }
    }
}

fn describe(record: &Quarantined) -> String {
    let which = match &record.key {
        Some(key) => format!("the record with the key `{}`", excerpt::quoted(key)),
        None => "a record without a key".to_owned(),
    };
    let column = record.column.as_ref().map(|column| format!(", column `{column}`")).unwrap_or_default();
    format!("{which} does not fit its model{column}: {}", record.reason)
}

/// Makes rows of one sync's records.
#[derive(Debug, Clone)]
pub struct Mapper {
    columns: Vec<Column>,
    templates: Vec<(Template, Option<Value>)>,
    /// steps of all plain paths
    steps: usize,
    key: Vec<usize>,
    on_invalid: OnInvalid,
    filter: Option<Predicate>,
    /// the filter of one of several outputs: what it turns away is another's
    also: Option<Predicate>,
    flag: Option<Flag>,
    mark: Option<MarkReader>,
    /// records below it are not wanted
    floor: Option<Mark>,
    validate: Option<RowSchema>,
    layout: Layout,
    /// the nested lists, and where each stands
    children: Vec<(Path, Mapper)>,
    /// its records are the items of a nested list, which need be no objects
    is_child: bool,
    /// its records were deleted
    is_gone: bool,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    is_key: bool,
    required: bool,
    source: Source,
    coercion: Coercion,
}

#[derive(Debug, Clone)]
enum Source {
    /// a plain path to at most one value, and the range of its steps in [`Sources::places`]
    Plain { steps: Vec<Step>, places: Range<usize> },
    /// a path to any number of values
    Path(Path),
    /// a position in [`Mapper::templates`]
    Template(usize),
    /// the column of the row that the item stands in
    Parent(usize),
}

/// What the values of one record come from.
struct Sources<'j> {
    record: &'j Json<'j>,
    /// what the record's templates gave, in the order of [`Mapper::templates`]
    computed: &'j [Result<Json<'static>, String>],
    /// where the steps of all plain paths were found last
    places: &'j Places,
    /// the values of the row that the item stands in
    parent: &'j [Cell<'j>],
}

/// What a record is before it is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// it becomes a row
    Wanted,
    /// it says that it is deleted
    Deleted,
    /// `where` turns it away, or it is older than what is wanted
    Unwanted,
}

/// What the details say of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// it has all of them
    Whole,
    /// it lacks one, which there is not
    Bare,
    /// it was deleted
    Gone,
}

/// A record that becomes a row.
pub(super) struct Judged {
    pub(super) fate: Fate,
    /// values that became null
    pub(super) nulled: u64,
    /// that its row takes at most
    pub(super) bytes: usize,
}

/// What is wrong with a record.
pub(super) struct Fault {
    column: Option<String>,
    pub(super) code: &'static str,
    pub(super) reason: String,
}

impl Mapper {
    /// For the records of this sync that become rows of its model, or of its first.
    pub fn new(plan: &SyncPlan) -> Self {
        Self::of(plan, &plan.model)
    }

    /// For the records of this sync that become rows of one of its models.
    pub fn of(plan: &SyncPlan, model: &ModelPlan) -> Self {
        Self {
            filter: plan.list.response.filter.clone(),
            flag: Flag::new(&plan.deletes),
            mark: plan.incremental.as_ref().map(MarkReader::of),
            ..Self::for_rows(model, plan)
        }
    }

    fn for_rows(model: &ModelPlan, plan: &SyncPlan) -> Self {
        let child =
            |child: &ChildPlan| (child.each.clone(), Self { is_child: true, ..Self::for_rows(&child.model, plan) });
        let mut mapper = Self {
            columns: Vec::with_capacity(model.columns.len()),
            templates: Vec::new(),
            steps: 0,
            key: model.key.clone(),
            on_invalid: model.on_invalid,
            filter: None,
            also: None,
            flag: None,
            mark: None,
            floor: None,
            validate: model.validate.clone(),
            layout: Layout::new(model),
            children: model.children.iter().map(child).collect(),
            is_child: false,
            is_gone: false,
        };
        for (at, column) in model.columns.iter().enumerate() {
            let source = mapper.source(&column.source);
            mapper.columns.push(Column {
                name: column.name.clone(),
                is_key: model.key.contains(&at),
                required: column.required,
                source,
                coercion: Coercion::new(&column.column_type, &column.format).in_zone(plan.zone_of(column)),
            });
        }
        mapper
    }

    /// Keeps only records for which this holds too.
    #[must_use]
    pub fn only(self, also: Option<Predicate>) -> Self {
        Self { also, ..self }
    }

    /// For the records of another list than the sync's own, with a `where` of its own.
    #[must_use]
    pub fn filtered_by(self, filter: Option<Predicate>) -> Self {
        Self { filter, ..self }
    }

    /// Turns away records whose mark is lower (`client_filter`). They count as filtered.
    #[must_use]
    pub fn from(self, floor: Option<Mark>) -> Self {
        Self { floor, ..self }
    }

    /// For records whose standing was asked already.
    pub fn accepted(self) -> Self {
        Self { filter: None, floor: None, ..self }
    }

    /// What a record is before it is mapped.
    ///
    /// # Errors
    /// A template of `where` fails, in words.
    pub fn standing(&self, record: &Json<'_>, context: &Value) -> Result<Standing, String> {
        let scope = Scope::new(record, context);
        if !self.filter.as_ref().map_or(Ok(true), |filter| scope.matches(filter))? {
            return Ok(Standing::Unwanted);
        }
        let mark = self.mark.as_ref().and_then(|mark| mark.peek(record));
        if mark.zip(self.floor.as_ref()).is_some_and(|(mark, floor)| mark < *floor) {
            return Ok(Standing::Unwanted);
        }
        let is_deleted = self.flag.as_ref().is_some_and(|flag| scope.matches(&flag.when).unwrap_or(false));
        Ok(if is_deleted { Standing::Deleted } else { Standing::Wanted })
    }

    /// For records that are rows already: `where`, `deletes.flag` and the watermark have been asked when they came, and do not count.
    pub fn of_rows(self) -> Self {
        Self { filter: None, also: None, flag: None, mark: None, ..self }
    }

    /// A record that does not fit goes to quarantine, even where the model says `on_invalid: fail`.
    pub fn never_failing(mut self) -> Self {
        if self.on_invalid == OnInvalid::Fail {
            self.on_invalid = OnInvalid::Quarantine;
        }
        self
    }

    fn source(&mut self, source: &ColumnSource) -> Source {
        match source {
            ColumnSource::Template(template) => {
                self.templates.push((template.clone(), None));
                Source::Template(self.templates.len() - 1)
            }
            ColumnSource::OfItem(template, item) => {
                self.templates.push((template.clone(), Some(Value::from(Serde(item)))));
                Source::Template(self.templates.len() - 1)
            }
            ColumnSource::Parent(at) => Source::Parent(*at),
            ColumnSource::Path(path) => match path.form() {
                PathForm::Plain { steps, each: false } => {
                    let first = self.steps;
                    self.steps += steps.len();
                    Source::Plain { steps: steps.clone(), places: first..self.steps }
                }
                _ => Source::Path(path.clone()),
            },
        }
    }

    /// The rows of one page, in the order of its records. Templates see the variables of `context`, and the record as `record`.
    ///
    /// # Errors
    /// A record that does not fit where the model says `on_invalid: fail`, and rows of more than `limits::BATCH_BYTES_MAX`.
    pub fn map(&self, records: &[&Json<'_>], context: &Value) -> Result<Batch, MapError> {
        let mut mapping = self.begin(records.len());
        mapping.add(records.iter().copied(), context)?;
        Ok(mapping.finish())
    }

    /// Begins a page whose records come some at a time; about so many.
    pub fn begin(&self, records: usize) -> Mapping<'_> {
        Mapping { mapper: self, page: self.page(records), places: self.places() }
    }

    /// The same of records to which details were added: each with its hash as the list had it, and whether it is there at all.
    ///
    /// # Errors
    /// As [`Mapper::map`].
    pub fn map_detailed(&self, records: &[(Json<'_>, u64, Presence)], context: &Value) -> Result<Batch, MapError> {
        let mut page = self.page(records.len());
        let mut listed = Vec::with_capacity(records.len());
        let places = self.places();
        let gone = Self { is_gone: true, ..self.clone() };
        for (record, hash, presence) in records {
            let mapper = if *presence == Presence::Gone { &gone } else { self };
            let rejected = page.rejected_items();
            mapper.record(record, (context, &[]), &places, &mut page)?;
            // one without its details asks for them again, and so does one whose items did not fit
            let is_whole = *presence == Presence::Whole && page.rejected_items() == rejected;
            listed.resize(page.rows(), is_whole.then_some(*hash));
        }
        Ok(Batch { listed: Some(listed), ..page.finish() })
    }

    fn page(&self, records: usize) -> Page<'_> {
        Page::new(&self.layout, records, self.children.iter().map(|(_, child)| child.page(records)).collect())
    }

    fn places(&self) -> Vec<std::cell::Cell<usize>> {
        vec![std::cell::Cell::new(0); self.steps]
    }

    /// `parent` has the values of the row that an item stands in.
    fn record(
        &self,
        record: &Json<'_>,
        (context, parent): (&Value, &[Cell<'_>]),
        places: &Places,
        page: &mut Page<'_>,
    ) -> Result<(), MapError> {
        let scope = Scope::new(record, context);
        let holds = |filter: &Option<Predicate>| filter.as_ref().map_or(Ok(true), |filter| scope.matches(filter));
        let accepted = holds(&self.filter);
        if accepted == Ok(false) {
            page.filtered += 1;
            return Ok(());
        }
        let accepted = accepted.and_then(|_| holds(&self.also));
        if accepted == Ok(false) {
            return Ok(());
        }
        if !self.is_child && !matches!(record, Json::Object(_) | Json::Array(_)) {
            let reason = format!("a record is an object or a list, this is {}", record.kind());
            let fault = Fault { column: None, code: "not_an_object", reason };
            return page.quarantine(self.reject(record, None, fault)?, None);
        }
        let computed = self.computed(&scope);
        let sources = Sources { record, computed: &computed, places, parent };
        let mut cells: Vec<Cell<'_>> = self.columns.iter().map(|_| Cell::Null).collect();
        let key = self.read_key(&sources, &mut cells);
        let keyed = key.is_ok();
        let mark = self.mark.as_ref().map_or(Ok(None), |mark| mark.read(record));
        if let (Ok(Some(mark)), Some(floor)) = (&mark, &self.floor)
            && mark < floor
        {
            page.filtered += 1;
            return Ok(());
        }
        if let Ok(Some(mark)) = &mark {
            // also of a record that ends in quarantine: it is kept, so its ground is covered
            page.see(mark);
        }
        let judged = key
            .and_then(|()| accepted.map_err(|error| Fault::template("where", &error)))
            .and_then(|_| self.judge(&sources, &scope, mark, &mut cells));
        match judged {
            Ok(judged) => {
                page.push(record, &cells, &judged)?;
                if judged.fate == Fate::Live { self.items(record, (context, &cells), page) } else { Ok(()) }
            }
            Err(fault) => {
                let rejected = self.reject(record, self.key_text(&sources), fault)?;
                page.quarantine(rejected, keyed.then_some(&cells))
            }
        }
    }

    /// The rows of the nested lists of a record, whose own row was put last on the page.
    fn items(
        &self,
        record: &Json<'_>,
        (context, cells): (&Value, &[Cell<'_>]),
        page: &mut Page<'_>,
    ) -> Result<(), MapError> {
        let owner = page.rows().saturating_sub(1);
        for ((each, child), (items, owners)) in self.children.iter().zip(&mut page.children) {
            let places = child.places();
            for item in select(each, record) {
                child.record(item, (context, cells), &places, items)?;
            }
            owners.resize(items.rows(), owner);
        }
        Ok(())
    }

    /// What becomes of the record. `cells`, which hold the key already, get all other values.
    fn judge<'j>(
        &self,
        sources: &Sources<'j>,
        scope: &Scope<'_>,
        mark: Result<Option<Mark>, Fault>,
        cells: &mut [Cell<'j>],
    ) -> Result<Judged, Fault> {
        within("its JSON", sources.record.size_at_most(), || sources.record.size())?;
        let fate = match &self.flag {
            _ if self.is_gone => Fate::Deleted(None),
            Some(flag) => flag.fate(sources.record, scope)?,
            None => Fate::Live,
        };
        // a tombstone needs its key and nothing else
        let dead = fate != Fate::Live;
        if !dead {
            mark?;
        }
        let mut nulled = 0;
        for (column, cell) in self.columns.iter().zip(cells.iter_mut()).filter(|(column, _)| !column.is_key) {
            match sources.cell(column) {
                Ok(Cell::Null) if column.required && !dead => {
                    return Err(column.fault("missing_required", "it is required, and has no value".to_owned()));
                }
                Ok(value) => *cell = value,
                Err(_) if dead => {}
                Err(_) if self.on_invalid == OnInvalid::SetNull && !column.required => nulled += 1,
                Err(Reason { code, text }) => return Err(column.fault(code, text)),
            }
        }
        let bytes = cells.iter().map(Cell::size_at_most).sum();
        within("its row", bytes, || cells.iter().map(Cell::size).sum())?;
        if let Some(schema) = self.validate.as_ref().filter(|_| !dead) {
            self.validate(schema, cells)?;
        }
        Ok(Judged { fate, nulled, bytes })
    }

    fn validate(&self, schema: &RowSchema, cells: &[Cell<'_>]) -> Result<(), Fault> {
        let named = self.columns.iter().zip(cells).filter(|(_, cell)| !cell.is_null());
        let row: serde_json::Map<_, _> = named
            .map(|(column, cell)| (column.name.clone(), row::value(cell, column.coercion.column_type())))
            .collect();
        let row = serde_json::Value::Object(row);
        schema.check(&row).map_err(|Breach { column, below, reason }| {
            let at = if below.is_empty() { String::new() } else { format!(" (`{}`)", below.join(".")) };
            let value = column.as_ref().and_then(|column| row.get(column)).cloned().map(Json::from);
            let quoted = value.map(|value| format!("`{}` does not fit `validate`{at}: ", excerpt::value(&value)));
            let reason =
                format!("{}{reason}", quoted.unwrap_or_else(|| "its row does not fit `validate`: ".to_owned()));
            Fault { column, code: "schema", reason: excerpt::message(&reason) }
        })
    }

    fn read_key<'j>(&self, sources: &Sources<'j>, cells: &mut [Cell<'j>]) -> Result<(), Fault> {
        for &at in &self.key {
            let column = &self.columns[at];
            let why = match sources.cell(column) {
                Ok(Cell::Null) => "has no value".to_owned(),
                Ok(cell) if cell.size() > QUARANTINE_BYTES_MAX => {
                    format!("takes more than {QUARANTINE_BYTES_MAX} bytes")
                }
                Ok(cell) => {
                    cells[at] = cell;
                    continue;
                }
                Err(reason) => format!("cannot be read: {}", reason.text),
            };
            return Err(column.fault("missing_key", format!("it belongs to the key, and {why}")));
        }
        Ok(())
    }

    fn computed(&self, scope: &Scope<'_>) -> Vec<Result<Json<'static>, String>> {
        let values = self.templates.iter().map(|(template, item)| match item {
            None => template.value(scope.variables()),
            Some(item) => template.value(&context! { item, ..scope.variables().clone() }),
        });
        values
            .map(|value| {
                Ok(value.map_err(|error| excerpt::message(&error.to_string()))?.map_or(Json::Null, Json::from))
            })
            .collect()
    }

    /// The key as it came, as a JSON array; `None` when nothing of it came, or more than quarantine keeps.
    fn key_text(&self, sources: &Sources<'_>) -> Option<String> {
        let mut some = false;
        let mut text = String::from("[");
        for (at, column) in self.key.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            let column = &self.columns[*column];
            if let Source::Parent(of) = &column.source {
                some = true;
                text += &row::value(&sources.parent[*of], column.coercion.column_type()).to_string();
                continue;
            }
            let value = sources.first(column);
            some |= value.is_some_and(|value| !value.is_null());
            value.unwrap_or(&Json::Null).write_text(&mut text, QUARANTINE_BYTES_MAX);
        }
        text.push(']');
        (some && text.len() <= QUARANTINE_BYTES_MAX).then_some(text)
    }

    /// The record as quarantine keeps it, or the error that it is.
    fn reject(&self, record: &Json<'_>, key: Option<String>, fault: Fault) -> Result<Quarantined, MapError> {
        let Fault { column, code, mut reason } = fault;
        let mut text = String::new();
        record.write_text(&mut text, QUARANTINE_BYTES_MAX);
        let mut record_hash = Some(xxh3_64(text.as_bytes()));
        if text.len() > QUARANTINE_BYTES_MAX {
            record_hash = None;
            text.truncate(text.floor_char_boundary(QUARANTINE_BYTES_MAX));
            let _ = write!(reason, "; only the first {QUARANTINE_BYTES_MAX} bytes of the record are kept");
        }
        let rejected = Quarantined { key, key_hash: None, column, code, reason, record: text, record_hash };
        if self.on_invalid == OnInvalid::Fail { Err(MapError::Invalid(Box::new(rejected))) } else { Ok(rejected) }
    }
}

/// A page being mapped.
pub struct Mapping<'m> {
    mapper: &'m Mapper,
    page: Page<'m>,
    places: Vec<std::cell::Cell<usize>>,
}

impl Mapping<'_> {
    /// Adds the rows of some records, which come behind those before.
    ///
    /// # Errors
    /// As [`Mapper::map`].
    pub fn add<'r, 'a: 'r>(
        &mut self,
        records: impl IntoIterator<Item = &'r Json<'a>>,
        context: &Value,
    ) -> Result<(), MapError> {
        records
            .into_iter()
            .try_for_each(|record| self.mapper.record(record, (context, &[]), &self.places, &mut self.page))
    }

    /// The rows.
    pub fn finish(self) -> Batch {
        self.page.finish()
    }
}

impl<'j> Sources<'j> {
    fn cell(&self, column: &Column) -> Result<Cell<'j>, Reason> {
        match &column.source {
            Source::Plain { steps, places } => {
                let value = first_near(steps, self.record, &self.places[places.clone()]);
                value.map_or(Ok(Cell::Null), |value| column.coercion.cell(value))
            }
            Source::Path(path) => column.coercion.gather(&select(path, self.record)),
            Source::Template(at) => match &self.computed[*at] {
                Ok(value) => column.coercion.cell(value),
                Err(error) => Err(Reason { code: "bad_template", text: error.clone() }),
            },
            Source::Parent(at) => Ok(self.parent[*at].clone()),
        }
    }

    /// The first value of a column as it came.
    fn first(&self, column: &Column) -> Option<&Json<'j>> {
        match &column.source {
            Source::Plain { steps, places } => first_near(steps, self.record, &self.places[places.clone()]),
            Source::Path(path) => first(path, self.record),
            Source::Template(at) => self.computed[*at].as_ref().ok(),
            Source::Parent(_) => None,
        }
    }
}

impl Column {
    fn fault(&self, code: &'static str, reason: String) -> Fault {
        Fault { column: Some(self.name.clone()), code, reason }
    }
}

impl Fault {
    fn template(word: &str, error: &str) -> Self {
        Self { column: None, code: "bad_template", reason: format!("`{word}`: {}", excerpt::message(error)) }
    }
}

/// Counts only what may be too much.
fn within(what: &str, at_most: usize, count: impl FnOnce() -> usize) -> Result<(), Fault> {
    if at_most <= RECORD_BYTES_MAX {
        return Ok(());
    }
    let bytes = count();
    if bytes <= RECORD_BYTES_MAX {
        return Ok(());
    }
    let reason = format!("{what} takes {bytes} bytes, more than {RECORD_BYTES_MAX}");
    Err(Fault { column: None, code: "record_too_large", reason })
}

/// `deletes: flag`.
#[derive(Debug, Clone)]
struct Flag {
    when: Predicate,
    at: Option<Path>,
    written: Coercion,
    epoch: Coercion,
}

impl Flag {
    fn new(plan: &DeletePlan) -> Option<Self> {
        let DeletePlan::Flag { when, at, gone_partitions: _, guard: _ } = plan else { return None };
        let moment = |format| Coercion::new(&ColumnType::Timestamptz, &format);
        Some(Self {
            when: when.clone(),
            at: at.clone(),
            written: moment(TimeFormat::Rfc3339),
            epoch: moment(TimeFormat::EpochS),
        })
    }

    fn fate(&self, record: &Json<'_>, scope: &Scope<'_>) -> Result<Fate, Fault> {
        if !scope.matches(&self.when).map_err(|error| Fault::template("deletes.flag.when", &error))? {
            return Ok(Fate::Live);
        }
        // an unreadable time is no reason to keep what is gone: the time at which it was seen takes its place
        let since = self.at.as_ref().and_then(|at| first(at, record)).and_then(|value| {
            let coercion = if matches!(value, Json::Number(_)) { &self.epoch } else { &self.written };
            match coercion.cell(value) {
                Ok(Cell::Timestamptz(us)) => Some(us),
                _ => None,
            }
        });
        Ok(Fate::Deleted(since))
    }
}

/// Reads a mark: the incremental field of a record, the time of an entry of a list of deletions.
#[derive(Debug, Clone)]
pub struct MarkReader {
    field: Path,
    coercion: Coercion,
}

impl MarkReader {
    /// Reads what stands at `field`; times without an offset are of `zone`.
    pub fn new(field: &Path, kind: MarkKind, format: &TimeFormat, zone: Option<Zone>) -> Self {
        Self { field: field.clone(), coercion: Coercion::new(&mark_type(kind), format).in_zone(zone) }
    }

    /// Reads the incremental field.
    pub fn of(plan: &IncrementalPlan) -> Self {
        Self::new(&plan.field, plan.kind, &plan.format, plan.zone)
    }

    /// The mark of a record; none where it has none, or one that cannot be read.
    pub fn peek(&self, record: &Json<'_>) -> Option<Mark> {
        self.read(record).ok().flatten()
    }

    pub(super) fn read(&self, record: &Json<'_>) -> Result<Option<Mark>, Fault> {
        let Some(value) = first(&self.field, record) else { return Ok(None) };
        self.coercion.cell(value).map(mark).map_err(|Reason { code, text }| {
            let field = excerpt::quoted(self.field.text());
            let reason = format!("the incremental field `{field}` cannot be read: {text}");
            Fault { column: None, code, reason }
        })
    }
}

/// Reads `incremental.start`, which people write and not the API: the field's own format, or RFC 3339, or a day, which begins at
/// midnight of the plan's zone. Null gives no mark.
///
/// # Errors
/// Why it is none of these, as a fragment for people.
pub fn read_start(plan: &IncrementalPlan, value: &Json<'_>) -> Result<Option<Mark>, String> {
    let column_type = mark_type(plan.kind);
    let read = |format: &TimeFormat| Coercion::new(&column_type, format).in_zone(plan.zone).cell(value);
    let own = read(&plan.format);
    let cell = own.or_else(|reason| {
        let midnight = TimeFormat::Custom("%Y-%m-%d".to_owned());
        let formats: &[TimeFormat] = match plan.kind {
            MarkKind::Timestamp => &[TimeFormat::Rfc3339, midnight],
            MarkKind::Date => &[TimeFormat::Rfc3339],
            MarkKind::Integer | MarkKind::Text => &[],
        };
        formats.iter().find_map(|format| read(format).ok()).ok_or(reason.text)
    });
    cell.map(mark)
}

fn mark_type(kind: MarkKind) -> ColumnType {
    match kind {
        MarkKind::Timestamp => ColumnType::Timestamptz,
        MarkKind::Date => ColumnType::Date,
        MarkKind::Integer => ColumnType::Bigint,
        MarkKind::Text => ColumnType::Varchar,
    }
}

fn mark(cell: Cell<'_>) -> Option<Mark> {
    match cell {
        Cell::Timestamptz(us) => DateTime::from_timestamp_micros(us).map(Mark::Timestamp),
        Cell::Date(days) => NaiveDate::from_epoch_days(days).map(Mark::Date),
        Cell::Integer(number) => i64::try_from(number).ok().map(Mark::Integer),
        Cell::Text(text) => Some(Mark::Text(text.into_owned())),
        _ => None,
    }
}
