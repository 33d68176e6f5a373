//! Names and texts inside SQL. Names come from users' YAML: every one of them goes through [`ident`] or [`Table`].

use std::fmt;

/// The name under which the warehouse file is attached. Unlikely as a provider's name, so that `shop.customers` is not ambiguous.
pub const CATALOG: &str = "headwater_db";

/// A quoted identifier.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted text, where a statement takes no parameters.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A table or view of the warehouse file, fully qualified and quoted when displayed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    /// the schema
    pub schema: String,
    /// the table
    pub name: String,
}

impl Table {
    /// A table in the provider's schema.
    pub fn new(schema: &str, name: &str) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// `schema.table`, for people.
    pub fn plain(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CATALOG}.{}.{}", ident(&self.schema), ident(&self.name))
    }
}

/// The texts joined with a comma.
pub fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    joined(items, ", ")
}

/// The texts joined with `separator`.
pub fn joined<T: AsRef<str>>(items: impl IntoIterator<Item = T>, separator: &str) -> String {
    items.into_iter().fold(String::new(), |mut all, item| {
        if !all.is_empty() {
            all.push_str(separator);
        }
        all.push_str(item.as_ref());
        all
    })
}
