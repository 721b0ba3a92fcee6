//! What the responder has seen and said.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Messages since the start, by what became of them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct ResponderCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The same, while they are counted.
        #[derive(Debug, Default)]
        pub(super) struct Counting {
            $(pub(super) $name: AtomicU64,)*
        }

        impl Counting {
            pub(super) fn read(&self) -> ResponderCounters {
                ResponderCounters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Messages received over UDP.
    udp,
    /// Messages received over TCP.
    tcp,
    /// Answers with an address or another record.
    answered,
    /// Answers that there is no such name.
    no_name,
    /// Answers that there is nothing of that type.
    no_data,
    /// Refused: of another zone, or a transfer.
    refused,
    /// Answered as malformed, not implemented, or of an EDNS version that is not known.
    errors,
    /// Not answered at all: responses, and what is too short to be answered.
    ignored,
    /// Answers cut for want of room.
    truncated,
    /// Not answered for the rate of answers to one network.
    limited,
    /// Queries with a client's network.
    with_subnet,
    /// Connections not taken for want of room.
    connections_refused,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
