//! Bytes to records to typed columns: decode, select, map, hash. Pure functions; what cannot be mapped is kept with a reason.

pub mod batch;
pub mod coerce;
pub mod columns;
pub mod decode;
pub mod format;
pub mod hash;
pub mod json;
pub mod keys;
pub mod map;
pub mod number;
pub mod select;
pub mod stream;
pub mod surrogate;
pub mod unpack;

mod archive;
mod chunks;
mod elements;
mod excerpt;
mod page;
mod query;
mod raw;
mod row;
mod separated;
mod time;
mod tokens;

#[cfg(test)]
mod tests;

pub use batch::{Batch, Children, Fate, Keys, Quarantined};
pub use columns::arrow_type;
pub use decode::{DecodeError, DecodeErrorKind, parse, parse_each, parse_into};
pub use format::decode_with;
pub use json::Json;
pub use keys::KeyReader;
pub use map::{MapError, Mapper, Mapping, MarkReader, Presence, Standing};
pub use raw::Raw;
pub use select::{first, matches, picks, picks_items, select};
pub use stream::{StreamError, stream};
pub use unpack::{is_packed, unpack};
