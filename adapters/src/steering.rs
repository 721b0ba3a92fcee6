//! Steering of clients by DNS: what shall be answered, what is answered, and the executors that make the one the other.
//!
//! ```text
//!   Answers ─▶ Rails ──▶ SteeringExecutor::apply ──▶ name server ──▶ resolvers, clients
//!                ▲               ▲       │ asks back
//!                └── Standing ◀──┴───────┘ until what is answered is what shall
//! ```
//!
//! | executor | weights | by client region | single writer | done means |
//! |---|---|---|---|---|
//! | [`rfc2136`]: UPDATE with TSIG to BIND, Knot, PowerDNS | numbers of records | no | by the server | verified |
//! | [`powerdns`]: its HTTP API, with LUA records where they are on | by its script | with LUA | by reading back | verified |
//! | [`responder`]: our own authoritative server | exact, sticky | yes | in the process | verified |
//! | [`fake`]: a server in memory, with faults to set | as set | as set | as set | as set |
//!
//! An executor is level-triggered: [`SteeringExecutor::apply`] looks at what stands, writes what differs, and looks again;
//! after a crash, of ours or of the server, the same call with the same answers mends what is left. It touches nothing that
//! does not bear its owner's mark. Whoever is only to look is given a [`SteeringView`]: each executor's module has one, which
//! holds nothing that can write. [`Rails`] bound what may change at once, and [`Guarded`] puts them before any executor.

mod answers;
mod apportion;
mod ask;
mod dns_name;
mod error;
mod executor;
mod expressed;
pub mod fake;
mod guarded;
mod marker;
#[cfg(feature = "fetch")]
pub mod powerdns;
pub mod rails;
mod record_set;
pub mod responder;
pub mod rfc2136;
mod secret;
mod standing;
mod view;
mod zone;

pub use crate::gate::{Gate, Stopped};
pub use answers::{Answers, Clients, Health, MEMBERS_MOST, Member, NameAnswers, Pool, Share, Shares};
pub use apportion::WHOLE;
pub use ask::own_network;
pub use dns_name::{DnsName, DnsNameError};
pub use error::SteeringError;
pub use executor::{Applied, SteeringExecutor};
pub use expressed::Expressed;
pub use guarded::{Guarded, GuardedStep};
pub use rails::{Drain, Rails, Remark};
pub use secret::{Secret, TsigKey};
pub use standing::{Standing, StandingName};
pub use view::{SteeringCapabilities, SteeringView, Weights};
