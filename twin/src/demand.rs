//! Demand from DNS: what clients ask for, told from what their resolvers ask.
//!
//! Resolvers hide requests behind their caches. The [`Meter`](forebay_world::Meter) says in each window how many
//! queries came and for how long a request would have shown ([`Exposure`](forebay_world::Exposure)); [`Inversion`]
//! makes of it the rate of requests of each client region × class, with an interval, and says when there is no more
//! than a lower bound. [`Resolved`] puts that in the place of sessions, for operators who see nothing else.
//!
//! [`Uplifts`] are what known events bring on top of it, by their kind.
//!
//! Not here: readers of logs and live feeds (adapters), and forecasts.

mod inversion;
mod requests;
mod resolved;
pub mod uplift;

pub use inversion::Inversion;
pub use requests::{ClientRequests, SATURATED};
pub use resolved::Resolved;
pub use uplift::{Belief, Uplifts};
