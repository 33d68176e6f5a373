use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// When a sync runs by itself: `every 15m`, `manual`, or a map with `cron`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ScheduleSpec {
    /// `every <duration>`, or `manual`
    Text(String),
    /// by the calendar
    Cron(CronSpec),
}

/// By the calendar: `{ cron: "0 6 * * 1-5", timezone: Europe/Berlin }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CronSpec {
    /// Minute, hour, day of the month, month, day of the week: `0 6 * * 1-5`.
    pub cron: String,
    /// The time zone it means, by its IANA name: `Europe/Berlin`.
    #[schemars(extend("default" = "UTC"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

impl<'de> Deserialize<'de> for ScheduleSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ScheduleSpec;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a map with `cron`")
            }

            fn visit_str<E>(self, text: &str) -> Result<ScheduleSpec, E> {
                Ok(ScheduleSpec::Text(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<ScheduleSpec, A::Error> {
                CronSpec::deserialize(de::value::MapAccessDeserializer::new(members)).map(ScheduleSpec::Cron)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for ScheduleSpec {
    fn schema_name() -> Cow<'static, str> {
        "ScheduleSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<CronSpec>();
        json_schema!({
            "description": "When a sync runs by itself: `every 15m`, `manual`, or a map with `cron`.",
            "anyOf": [{ "type": "string", "examples": ["every 15m", "every 1h", "every 1d", "manual"] }, long],
        })
    }
}
