//! Made-up records of a model, for tests: nobody's data, but values that its columns take.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::aside::put;
use super::facts::changed_at;
use super::parts::{ColumnDraft, ModelDraft, Source};
use crate::plan::ColumnType;

/// Made-up records of a model.
pub(super) struct Examples<'m> {
    model: &'m ModelDraft,
    /// the column that the test changes, if there is one that it can
    changing: Option<&'m ColumnDraft>,
    /// the column that says what is newer
    marks: Option<&'m ColumnDraft>,
}

/// Whether the path of another column leads through what a column holds.
fn holds_another(model: &ModelDraft, column: &ColumnDraft) -> bool {
    let Some(own) = column.path() else { return false };
    let is_below = |path: &str| path.strip_prefix(own).is_some_and(|rest| rest.starts_with(['.', '[']));
    model.columns.iter().filter_map(ColumnDraft::path).any(is_below)
}

/// 1 May 2024, 10:00 UTC: the first record is of this day, the second of the next.
fn first_day() -> DateTime<Utc> {
    DateTime::from_timestamp(1_714_557_600, 0).unwrap_or_default()
}

/// The moment that times of the record `number` say. A record that has changed says a later one.
pub(super) fn moment(number: u32, is_changed: bool) -> DateTime<Utc> {
    first_day() + TimeDelta::days(i64::from(number) - 1 + if is_changed { 31 } else { 0 })
}

impl<'m> Examples<'m> {
    /// Of a model; `marks` is the column with the time of the last change, `flag` the path of what says that a record is gone.
    pub(super) fn of(model: &'m ModelDraft, marks: Option<&'m str>, flag: Option<&str>) -> Self {
        let is_free = |column: &&ColumnDraft| {
            column.path().is_some_and(|path| Some(path) != flag)
                && !model.key.value.contains(&column.name)
                && Some(column.name.as_str()) != marks
        };
        let of_type = |wanted: fn(&ColumnType) -> bool| {
            model.columns.iter().filter(is_free).find(|column| wanted(&column.column_type) && column.format.is_none())
        };
        let changing = of_type(|kind| *kind == ColumnType::Varchar)
            .or_else(|| of_type(|kind| matches!(kind, ColumnType::Integer | ColumnType::Bigint | ColumnType::Double)))
            .or_else(|| of_type(|kind| matches!(kind, ColumnType::Decimal { .. } | ColumnType::Hugeint)))
            .or_else(|| of_type(|kind| *kind == ColumnType::Boolean))
            // of an object that other columns look into, only a part is this column's
            .or_else(|| {
                of_type(|kind| matches!(kind, ColumnType::Json)).filter(|column| !holds_another(model, column))
            });
        Self { model, changing, marks: marks.and_then(|name| model.column(name)) }
    }

    /// Whether a record can be another one and be the same.
    pub(super) fn can_change(&self) -> bool {
        self.record(1, true) != self.record(1, false)
    }

    /// The record of a number from 1 on; none where a path of the model leads nowhere that can be made up.
    pub(super) fn record(&self, number: u32, is_changed: bool) -> Option<Value> {
        let mut record = json!({});
        for column in &self.model.columns {
            let Source::Path(path) = &column.source else { continue };
            if !put(&mut record, path, self.value(column, number, is_changed)) {
                return None;
            }
        }
        Some(record)
    }

    /// The row that the record becomes, as far as a test names it.
    pub(super) fn row(&self, number: u32, is_changed: bool) -> Value {
        let is_named = |column: &&ColumnDraft| {
            self.model.key.value.contains(&column.name)
                || self.changing.is_some_and(|changing| changing.name == column.name)
        };
        let cell = |column: &ColumnDraft| (column.name.clone(), self.value(column, number, is_changed));
        Value::Object(self.model.columns.iter().filter(is_named).map(cell).collect())
    }

    /// The value of a member.
    fn value(&self, column: &ColumnDraft, number: u32, is_changed: bool) -> Value {
        let is_key = self.model.key.value.contains(&column.name);
        if self.marks.is_some_and(|marks| marks.name == column.name) && column.format.is_none() {
            let more = number + if is_changed { 1_000 } else { 0 };
            match column.column_type {
                ColumnType::Varchar => return format!("{more:06}").into(),
                ColumnType::Integer | ColumnType::Bigint | ColumnType::Hugeint => return more.into(),
                _ => {}
            }
        }
        let is = |other: Option<&ColumnDraft>| other.is_some_and(|other| other.name == column.name);
        let changes = is_changed && is(self.changing);
        let is_later = is_changed && (is(self.marks) || is(changed_at(&self.model.columns)));
        scalar(column, &column.column_type, number, if is_key { None } else { Some((is_later, changes)) })
    }

    /// What the member at the head of a key says in the record of a number: the token of a page that it ends.
    pub(super) fn at(&self, path: &str, number: u32) -> Option<Value> {
        let column = self.model.columns.iter().find(|column| column.path() == Some(path))?;
        Some(self.value(column, number, false))
    }
}

/// A value of a type; `change` says whether it is a time that is later now, and whether it is what has changed.
fn scalar(column: &ColumnDraft, kind: &ColumnType, number: u32, change: Option<(bool, bool)>) -> Value {
    let (is_later, changes) = change.unwrap_or_default();
    let more = number + if changes { 1_000 } else { 0 };
    match kind {
        ColumnType::Boolean => changes.into(),
        ColumnType::Integer | ColumnType::Bigint | ColumnType::Hugeint => more.into(),
        ColumnType::Double => (f64::from(more) + 0.5).into(),
        ColumnType::Decimal { precision, scale } => {
            let whole = if precision == scale { 0 } else { more % 10 };
            if *scale == 0 { whole.to_string().into() } else { format!("{whole}.5").into() }
        }
        ColumnType::Varchar if changes => "changed".into(),
        ColumnType::Varchar => format!("{} {number}", column.name.replace('_', " ")).into(),
        ColumnType::Date | ColumnType::Time | ColumnType::Timestamp | ColumnType::Timestamptz => {
            time(kind, column.format.as_deref(), moment(number, is_later))
        }
        ColumnType::Uuid => format!("00000000-0000-4000-8000-{number:012}").into(),
        ColumnType::Json => json!({ "example": more }),
        ColumnType::Blob => "aGVhZHdhdGVy".into(),
        ColumnType::List(item) => Value::Array(vec![scalar(column, item, number, change)]),
    }
}

/// A moment as a column of this type and format takes it.
pub(super) fn time(kind: &ColumnType, format: Option<&str>, moment: DateTime<Utc>) -> Value {
    match (format, kind) {
        (Some("epoch_s"), _) => moment.timestamp().into(),
        (Some("epoch_ms"), _) => moment.timestamp_millis().into(),
        (Some("epoch_us"), _) => moment.timestamp_micros().into(),
        (Some("rfc3339") | None, ColumnType::Date) => moment.format("%Y-%m-%d").to_string().into(),
        (Some("rfc3339") | None, ColumnType::Time) => moment.format("%H:%M:%S").to_string().into(),
        (Some("rfc3339") | None, ColumnType::Timestamp) => moment.format("%Y-%m-%dT%H:%M:%S").to_string().into(),
        (Some("rfc3339") | None, _) => moment.format("%Y-%m-%dT%H:%M:%SZ").to_string().into(),
        (Some(custom), _) => {
            let mut text = String::new();
            // a format that chrono does not know would fail while it is printed
            match std::fmt::Write::write_fmt(&mut text, format_args!("{}", moment.format(custom))) {
                Ok(()) => text.into(),
                Err(_) => Value::Null,
            }
        }
    }
}
