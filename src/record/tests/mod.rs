//! Tests of the room, a file for each subject.

mod coerce;
mod columns;
mod decode;
mod fixture;
mod hash;
mod json;
mod map;
mod number;
mod select;
mod times;
