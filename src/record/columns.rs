//! Typed values as Arrow columns.
//!
//! Arrow has no type for a UUID, a JSON value or a 128-bit integer that DuckDB's appender takes: these travel as text (lowercase
//! with hyphens, compact JSON, decimal digits) and the store casts them.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int32Builder,
    Int64Builder, ListArray, NullBufferBuilder, StringArray, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};

use super::coerce::Cell;
use crate::plan::ColumnType;

/// Bytes of text a value gets room for before any is known.
const TEXT_BYTES: usize = 16;

/// The Arrow type in which values of the column type travel to the store.
pub fn arrow_type(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Integer => DataType::Int32,
        ColumnType::Bigint => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(*precision, scale.cast_signed()),
        ColumnType::Hugeint | ColumnType::Varchar | ColumnType::Uuid | ColumnType::Json => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Time => DataType::Time64(TimeUnit::Microsecond),
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Blob => DataType::Binary,
        ColumnType::List(item) => DataType::List(item_field(item)),
    }
}

fn item_field(item: &ColumnType) -> FieldRef {
    Arc::new(Field::new_list_field(arrow_type(item), true))
}

/// A column being filled.
#[derive(Debug)]
pub struct ColumnBuilder(Builder);

#[derive(Debug)]
enum Builder {
    Boolean(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder),
    Text(Texts),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Blob(BinaryBuilder),
    List { field: FieldRef, lengths: Vec<usize>, valid: Vec<bool>, items: Box<Builder> },
}

impl ColumnBuilder {
    /// An empty column with room for `rows` values.
    pub fn new(column_type: &ColumnType, rows: usize) -> Self {
        Self(Builder::new(column_type, rows))
    }

    /// Adds a value. It must have come from a [`super::coerce::Coercion`] of the column's type.
    pub fn append(&mut self, cell: &Cell<'_>) {
        self.0.append(cell);
    }

    /// The column, of type [`arrow_type`].
    pub fn finish(self) -> ArrayRef {
        self.0.finish()
    }
}

impl Builder {
    fn new(column_type: &ColumnType, rows: usize) -> Self {
        let data_type = arrow_type(column_type);
        match column_type {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            ColumnType::Integer => Self::Int32(Int32Builder::with_capacity(rows)),
            ColumnType::Bigint => Self::Int64(Int64Builder::with_capacity(rows)),
            ColumnType::Double => Self::Double(Float64Builder::with_capacity(rows)),
            ColumnType::Decimal { .. } => {
                Self::Decimal(Decimal128Builder::with_capacity(rows).with_data_type(data_type))
            }
            ColumnType::Hugeint | ColumnType::Varchar | ColumnType::Uuid | ColumnType::Json => {
                Self::Text(Texts::new(rows))
            }
            ColumnType::Date => Self::Date(Date32Builder::with_capacity(rows)),
            ColumnType::Time => Self::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            ColumnType::Timestamp | ColumnType::Timestamptz => {
                Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(data_type))
            }
            ColumnType::Blob => Self::Blob(BinaryBuilder::with_capacity(rows, rows.saturating_mul(TEXT_BYTES))),
            ColumnType::List(item) => Self::List {
                field: item_field(item),
                lengths: Vec::with_capacity(rows),
                valid: Vec::with_capacity(rows),
                items: Box::new(Self::new(item, rows)),
            },
        }
    }

    fn append(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (builder, Cell::Null) => builder.append_null(),
            (Self::Boolean(builder), Cell::Boolean(value)) => builder.append_value(*value),
            (Self::Int32(builder), Cell::Integer(number)) => {
                builder.append_value(i32::try_from(*number).expect("a coerced integer is in the range of its type"));
            }
            (Self::Int64(builder), Cell::Integer(number)) => {
                builder.append_value(i64::try_from(*number).expect("a coerced bigint is in the range of its type"));
            }
            (Self::Double(builder), Cell::Double(number)) => builder.append_value(*number),
            (Self::Decimal(builder), Cell::Decimal(number)) => builder.append_value(*number),
            (Self::Text(texts), cell) => texts.append(cell),
            (Self::Date(builder), Cell::Date(days)) => builder.append_value(*days),
            (Self::Time(builder), Cell::Time(us)) => builder.append_value(*us),
            (Self::Timestamp(builder), Cell::Timestamp(us) | Cell::Timestamptz(us)) => builder.append_value(*us),
            (Self::Blob(builder), Cell::Blob(bytes)) => builder.append_value(bytes),
            (Self::List { lengths, valid, items, .. }, Cell::List(cells)) => {
                lengths.push(cells.len());
                valid.push(true);
                for cell in cells {
                    items.append(cell);
                }
            }
            _ => unreachable!("a coerced value has the type of its column"),
        }
    }

    fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int32(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::Decimal(builder) => builder.append_null(),
            Self::Text(texts) => texts.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Blob(builder) => builder.append_null(),
            Self::List { lengths, valid, .. } => {
                lengths.push(0);
                valid.push(false);
            }
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Int32(mut builder) => Arc::new(builder.finish()),
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::Double(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder) => Arc::new(builder.finish()),
            Self::Text(texts) => Arc::new(texts.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Time(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) => Arc::new(builder.finish()),
            Self::Blob(mut builder) => Arc::new(builder.finish()),
            Self::List { field, lengths, valid, items } => {
                let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
                Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), items.finish(), nulls))
            }
        }
    }
}

/// A column of texts being filled. Arrow's own builder takes a thousand instructions more to finish, which is what a small page consists of.
#[derive(Debug)]
struct Texts {
    /// one after another
    all: String,
    /// where the first begins, and each ends
    ends: Vec<i32>,
    valid: NullBufferBuilder,
}

impl Texts {
    fn new(rows: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self { all: String::with_capacity(rows.saturating_mul(TEXT_BYTES)), ends, valid: NullBufferBuilder::new(rows) }
    }

    fn append(&mut self, cell: &Cell<'_>) {
        match cell {
            Cell::Text(text) => self.all.push_str(text),
            cell => write_text(cell, &mut self.all),
        }
        self.valid.append_non_null();
        self.end();
    }

    fn append_null(&mut self) {
        self.valid.append_null();
        self.end();
    }

    fn end(&mut self) {
        self.ends.push(i32::try_from(self.all.len()).expect("a page has less than 2 GiB"));
    }

    fn finish(mut self) -> StringArray {
        // what texts take is guessed, and a group holds many pages: a copy of their size leaves the room whole for the next page
        let texts = Buffer::from(self.all.as_bytes());
        StringArray::new(OffsetBuffer::new(self.ends.into()), texts, self.valid.finish())
    }
}

/// The text in which a value travels that Arrow has no type for.
pub(super) fn write_text(cell: &Cell<'_>, out: &mut String) {
    match cell {
        Cell::Integer(number) => {
            let _ = write!(out, "{number}");
        }
        Cell::Uuid(number) => {
            let group = |shift: u32, bits: u32| (number >> shift) & ((1 << bits) - 1);
            let _ = write!(out, "{:08x}-{:04x}-{:04x}-", group(96, 32), group(80, 16), group(64, 16));
            let _ = write!(out, "{:04x}-{:012x}", group(48, 16), group(0, 48));
        }
        Cell::Json(json) => json.write_text(out, usize::MAX),
        _ => unreachable!("a coerced value has the type of its column"),
    }
}
