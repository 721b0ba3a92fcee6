//! The latency bound of a slice: what its class's objective leaves for the network, one way.
//!
//! Nothing enforces a delay; it is promised (an SLO of RFC 9543) and watched, and what is done towards it is priority.
//!
//! An objective is for what a viewer waits for: the answer to a request, or the start of a film. What machines take of
//! it cannot be promised to the network; of what is left, the network gets a share (half, unless configured), for
//! requests queue at machines, too. And the network is crossed several times before anything is to be seen:
//!
//! - interactive work: there and back once, on a connection that stands. The mean service time is the machine's.
//! - streaming: there and back four times: TCP's handshake (RFC 9293), TLS 1.3's (RFC 8446), the list of what there is
//!   to be played (RFC 8216), and the first segment.
//! - downloads wait for nothing that a delay would spoil: no bound.

use forebay_world::{Duration, ResourceClass, Work};

/// Times that the network is crossed, one way, before a film starts.
const CROSSINGS_TO_START: u64 = 8;
/// Times that it is crossed for an answer.
const CROSSINGS_TO_ANSWER: u64 = 2;
/// Bounds are whole numbers of these: the unit in which they are handed on.
const UNIT: Duration = Duration::from_nanos(1_000);

/// The one-way delay that the traffic of a class bears at most, when the network may take `share` of what its objective
/// leaves; `None` where it bears any, and where its machines take all there is.
pub fn bound(class: &ResourceClass, share: f64) -> Option<Duration> {
    let (left, crossings) = match class.work {
        Work::Interactive { service, .. } => (class.slo.latency.saturating_sub(service), CROSSINGS_TO_ANSWER),
        Work::Streaming { .. } => (class.slo.latency, CROSSINGS_TO_START),
        Work::Download { .. } => return None,
    };
    let bound = left.mul_f64(share) / crossings;
    let whole = UNIT * (bound / UNIT);
    (!whole.is_zero()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_world::topology;

    #[test]
    fn a_bound_is_what_the_objective_leaves() {
        let topology = topology(1);
        let [video, web] = [&topology.classes[0], &topology.classes[1]];
        assert_eq!(bound(video, 0.5), Some(Duration::from_millis(125)), "2 s, half of it, crossed eight times");
        // 250 ms less 20 ms of service, half of it, there and back.
        assert_eq!(bound(web, 0.5), Some(Duration::from_nanos(57_500_000)));
        let mut late = web.clone();
        late.slo.latency = Duration::from_millis(20);
        assert_eq!(bound(&late, 1.0), None);
        let work = Work::Download { size: forebay_world::Bytes(1), rate: forebay_world::BitsPerSecond(1) };
        assert_eq!(bound(&ResourceClass { work, ..late }, 1.0), None);
    }
}
