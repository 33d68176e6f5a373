//! The types a column can have, as written in YAML and as DuckDB knows them.

use std::fmt;

/// A column's type. `Display` gives DuckDB's spelling, [`ColumnType::parse`] reads the same spelling back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// true or false
    Boolean,
    /// 32 bits, signed
    Integer,
    /// 64 bits, signed
    Bigint,
    /// 128 bits, signed
    Hugeint,
    /// IEEE 754, 64 bits
    Double,
    /// `decimal(precision,scale)`: exact, at most 38 digits
    Decimal {
        /// all digits, 1 to 38
        precision: u8,
        /// digits behind the point, at most `precision`
        scale: u8,
    },
    /// text
    Varchar,
    /// a day
    Date,
    /// a time of day without a zone
    Time,
    /// a day and time without a zone
    Timestamp,
    /// a moment (UTC inside)
    Timestamptz,
    /// RFC 9562
    Uuid,
    /// any JSON value, kept as JSON text
    Json,
    /// bytes, base64 in the response
    Blob,
    /// a list of one of the above
    List(Box<ColumnType>),
}

impl ColumnType {
    /// The scalar type names, for "did you mean".
    pub const NAMES: [&'static str; 14] = [
        "boolean",
        "integer",
        "bigint",
        "hugeint",
        "double",
        "decimal",
        "varchar",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "uuid",
        "json",
        "blob",
    ];

    /// Reads `bigint`, `decimal(18,2)`, `varchar[]`, in any case. `None` when it is no type.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if let Some(inner) = text.strip_suffix("[]") {
            return match Self::parse(inner)? {
                Self::List(_) => None,
                scalar => Some(Self::List(Box::new(scalar))),
            };
        }
        Some(match text.as_str() {
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "bigint" => Self::Bigint,
            "hugeint" => Self::Hugeint,
            "double" => Self::Double,
            "varchar" => Self::Varchar,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::Timestamptz,
            "uuid" => Self::Uuid,
            "json" => Self::Json,
            "blob" => Self::Blob,
            _ => {
                let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
                let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
                if !(1..=38).contains(&precision) || scale > precision {
                    return None;
                }
                Self::Decimal { precision, scale }
            }
        })
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::Integer => f.write_str("INTEGER"),
            Self::Bigint => f.write_str("BIGINT"),
            Self::Hugeint => f.write_str("HUGEINT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            Self::Varchar => f.write_str("VARCHAR"),
            Self::Date => f.write_str("DATE"),
            Self::Time => f.write_str("TIME"),
            Self::Timestamp => f.write_str("TIMESTAMP"),
            Self::Timestamptz => f.write_str("TIMESTAMPTZ"),
            Self::Uuid => f.write_str("UUID"),
            Self::Json => f.write_str("JSON"),
            Self::Blob => f.write_str("BLOB"),
            Self::List(inner) => write!(f, "{inner}[]"),
        }
    }
}
