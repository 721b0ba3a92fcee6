//! Production, looked at: hypervisors, links, the name server, machines and queries, each as it was last seen and when.
//!
//! ```text
//!   views ──▶ look_at_* ──▶ Board (what was seen last, when, and why not) ──▶ sight ──▶ rollout, observation
//!   dnstap ──▶ Queries ──▶ Meter ──┘
//! ```
//!
//! Nothing here writes, and no type here can: views are all that it takes. Live mode looks by the same code.

mod announced;
mod board;
mod health;
mod hearing;
mod look;
mod names;
mod pace;
pub mod page;
mod queries;
mod repeat;
mod sighting;
mod steered;
mod usage;
mod watchers;

pub use announced::{EventWatch, FeedReader};
pub use board::{Board, Look, Targets};
pub use health::HealthWatch;
pub use hearing::{Hearing, Tell};
pub use look::{AnswersSeen, Asked, HypervisorSeen, LinkSeen, look_at_answers, look_at_hypervisor, look_at_link};
pub use names::Names;
pub use pace::Pace;
pub use queries::{QueryWatch, Seen};
pub use steered::{Answered, answered, of_class, region_of};
pub use usage::{LinkMeter, network_use};
pub use watchers::{Seers, WatchError, Watchers};

use std::sync::Arc;

use forebay_world::Timestamp;

/// What the time is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
