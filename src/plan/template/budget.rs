//! What an evaluation may make on the way. Fuel bounds how many steps it takes; this bounds how much they leave in memory.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use crate::plan::limits;

/// About what one item of a list costs, in bytes.
pub(super) const ITEM_BYTES: usize = 24;

/// The bytes an evaluation may still make. One belongs to each evaluation.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(limits::TEMPLATE_MEMORY_MAX)
    }
}

impl Budget {
    /// The budget of the evaluation under way.
    pub(super) fn of<'s>(state: &'s mut State<'_, '_>) -> &'s mut Self {
        state.get_or_insert_extension_with(Self::default)
    }

    /// Takes so many bytes, before they are made where that is possible.
    ///
    /// # Errors
    /// When there are not so many left.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Error> {
        match self.0.checked_sub(bytes) {
            Some(left) => self.0 = left,
            None => {
                let message = format!("it makes more than {} MiB", limits::TEMPLATE_MEMORY_MAX >> 20);
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        }
        Ok(())
    }

    /// Takes the items of a list or the characters of a text, as if a list were made of them.
    ///
    /// # Errors
    /// When there is not so much left.
    pub(super) fn take_items(&mut self, value: &Value) -> Result<usize, Error> {
        let most = self.0 / ITEM_BYTES + 1;
        let count = match value.as_str() {
            Some(text) => text.len(),
            None => value.len().unwrap_or_else(|| value.try_iter().map_or(0, |items| items.take(most).count())),
        };
        self.take(count.saturating_mul(ITEM_BYTES))?;
        Ok(count)
    }
}

/// About what a value itself takes in memory, the members of its items left out.
pub(super) fn weight(value: &Value) -> usize {
    match value.kind() {
        ValueKind::String | ValueKind::Bytes => value.as_bytes().map_or(0, <[u8]>::len),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => value.len().unwrap_or(0) * ITEM_BYTES,
        _ => 0,
    }
}
