use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::VariantSpec;

/// # Overlay
/// What the API has set, inputs and variants of syncs, over those of `headwater.yaml`: `headwater.api.yaml` beside it. headwater writes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OverlaySpec {
    /// Connections of `headwater.yaml`, by name.
    pub connections: IndexMap<String, OverlayConnectionSpec>,
}

/// What the API has set for a connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OverlayConnectionSpec {
    /// Syncs that the connection has by `headwater.yaml`, by name.
    pub syncs: IndexMap<String, OverlaySyncSpec>,
}

/// What the API has set for a sync of a connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OverlaySyncSpec {
    /// The parameters the sync's `input` asks for, in the place of the connection's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Map<String, Value>>,
    /// The `input` of variants of `headwater.yaml`, by name, in the place of theirs.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub variant_inputs: IndexMap<String, Map<String, Value>>,
    /// Variants beside those of `headwater.yaml`, by name; each has its own rows and state.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub variants: IndexMap<String, VariantSpec>,
}
