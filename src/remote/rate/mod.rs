//! One budget per connection: its quotas, what its server says is left, its requests in flight, and the pauses its server asks for.

mod budget;
mod gate;
mod learned;
mod places;
mod told;

pub(super) use gate::{Parked, Place, Rate};
