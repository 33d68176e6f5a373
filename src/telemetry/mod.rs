//! What runs do, for collectors of [OpenTelemetry](https://opentelemetry.io): a trace for each run. Off unless the environment names a collector.

mod settings;
mod traces;

pub use settings::{Settings, Unsupported};
pub use traces::Traces;
