//! Hashes of keys and rows, over typed values: how a record was spelled does not matter, what it says does.
//!
//! The bytes that are hashed are part of the database's format, because `_hash` is stored: a change here makes every row look
//! updated once. They are: for each value a tag and its content; text, JSON and blobs by their length (64 bits) before them, lists
//! by their number of items; numbers little-endian. All three integer types share a tag and a width, so that widening a column
//! changes no hash, and decimals are written without trailing zeros, so that a new scale changes none. A row hash takes the values
//! that are not null in the order of their columns' names, each behind its column's name, so that a new column without values, or
//! another order of the columns, changes none either.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::coerce::Cell;
use crate::plan::{ColumnPlan, ColumnType};

/// The hashes of one model's rows.
#[derive(Debug, Clone)]
pub struct RowHasher {
    columns: Vec<HashedColumn>,
}

#[derive(Debug, Clone)]
struct HashedColumn {
    position: usize,
    /// the column's name behind its length
    name: Vec<u8>,
    scale: u8,
}

/// Buffers that are kept from row to row.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    json: String,
}

impl RowHasher {
    /// For rows of these columns; volatile ones are left out.
    pub fn new(columns: &[ColumnPlan]) -> Self {
        let mut hashed: Vec<usize> = (0..columns.len()).filter(|position| !columns[*position].volatile).collect();
        hashed.sort_unstable_by_key(|position| columns[*position].name.as_str());
        let columns = hashed.into_iter().map(|position| {
            let column = &columns[position];
            let mut name = Vec::with_capacity(column.name.len() + 8);
            write_bytes(column.name.as_bytes(), &mut name);
            HashedColumn { position, name, scale: scale(&column.column_type) }
        });
        Self { columns: columns.collect() }
    }

    /// xxh3-64 of a row; `cells` has one value a column, in the model's order.
    pub fn row(&self, cells: &[Cell<'_>], scratch: &mut Scratch) -> u64 {
        scratch.bytes.clear();
        for column in &self.columns {
            let cell = &cells[column.position];
            if !cell.is_null() {
                scratch.bytes.extend_from_slice(&column.name);
                write(cell, column.scale, scratch);
            }
        }
        xxh3_64(&scratch.bytes)
    }
}

/// xxh3-128 of a key: its values with their types, in key order.
pub fn key<'k, 'j: 'k>(values: impl Iterator<Item = (&'k ColumnType, &'k Cell<'j>)>, scratch: &mut Scratch) -> u128 {
    scratch.bytes.clear();
    for (column_type, cell) in values {
        write(cell, scale(column_type), scratch);
    }
    xxh3_128(&scratch.bytes)
}

fn scale(column_type: &ColumnType) -> u8 {
    match column_type {
        ColumnType::Decimal { scale, .. } => *scale,
        ColumnType::List(item) => scale(item),
        _ => 0,
    }
}

fn write(cell: &Cell<'_>, scale: u8, scratch: &mut Scratch) {
    let out = &mut scratch.bytes;
    match cell {
        Cell::Null => out.push(b'0'),
        Cell::Boolean(value) => out.extend([b'b', u8::from(*value)]),
        Cell::Integer(number) => {
            out.push(b'i');
            out.extend(number.to_le_bytes());
        }
        Cell::Double(number) => {
            out.push(b'f');
            out.extend(number.to_bits().to_le_bytes());
        }
        Cell::Decimal(number) => {
            let (mut number, mut scale) = (*number, scale);
            while scale > 0 && number % 10 == 0 {
                number /= 10;
                scale -= 1;
            }
            out.push(b'n');
            out.push(scale);
            out.extend(number.to_le_bytes());
        }
        Cell::Text(text) => {
            out.push(b's');
            write_bytes(text.as_bytes(), out);
        }
        Cell::Date(days) => {
            out.push(b'd');
            out.extend(days.to_le_bytes());
        }
        Cell::Time(us) => {
            out.push(b't');
            out.extend(us.to_le_bytes());
        }
        Cell::Timestamp(us) => {
            out.push(b'l');
            out.extend(us.to_le_bytes());
        }
        Cell::Timestamptz(us) => {
            out.push(b'm');
            out.extend(us.to_le_bytes());
        }
        Cell::Uuid(number) => {
            out.push(b'u');
            out.extend(number.to_le_bytes());
        }
        Cell::Json(json) => {
            scratch.json.clear();
            json.canonical(&mut scratch.json);
            out.push(b'j');
            write_bytes(scratch.json.as_bytes(), out);
        }
        Cell::Blob(bytes) => {
            out.push(b'x');
            write_bytes(bytes, out);
        }
        Cell::List(items) => {
            out.push(b'[');
            out.extend((items.len() as u64).to_le_bytes());
            for item in items {
                write(item, scale, scratch);
            }
        }
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}
