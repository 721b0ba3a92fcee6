//! How many answers one network may get by datagrams, so that nobody is flooded with them in another's name.
//!
//! A table of a fixed size: networks that fall into one place share it, so that memory is bounded and a limit may come early
//! but never late. Of what is over the limit every other is answered as cut, so that who is really there comes by TCP.

use std::net::IpAddr;
use std::time::Instant;

use crate::prefix::Prefix;

/// Answers that a network (/24 or /56) may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Answers a second.
    pub answers_per_second: u32,
    /// So many seconds' worth may come at once.
    pub burst_seconds: u32,
}

/// What is to be done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    SendCut,
    Drop,
}

/// Places of the table.
const PLACES: usize = 1 << 16;

/// Counts the answers of one thread.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: RateLimit,
    begun: Instant,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Answers that may be given at once, in thousandths.
    tokens: u64,
    /// Since the begin \[ms\].
    at: u64,
    known: bool,
    cut: bool,
}

impl Limiter {
    pub(super) fn new(limit: RateLimit) -> Limiter {
        Limiter { limit, begun: Instant::now(), places: vec![Place::default(); PLACES] }
    }

    pub(super) fn verdict(&mut self, client: IpAddr) -> Verdict {
        let now = self.begun.elapsed().as_millis() as u64;
        self.verdict_at(client, now)
    }

    fn verdict_at(&mut self, client: IpAddr, now: u64) -> Verdict {
        let key = Prefix::of_client(client).key().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = &mut self.places[(key >> 48) as usize % PLACES];
        let rate = u64::from(self.limit.answers_per_second);
        let most = 1_000 * rate * u64::from(self.limit.burst_seconds.max(1));
        let gained = now.saturating_sub(place.at).saturating_mul(rate);
        place.tokens = if place.known { place.tokens.saturating_add(gained).min(most) } else { most };
        (place.known, place.at) = (true, now);
        if place.tokens >= 1_000 {
            place.tokens -= 1_000;
            return Verdict::Send;
        }
        place.cut = !place.cut;
        if place.cut { Verdict::SendCut } else { Verdict::Drop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_gets_its_rate_and_others_theirs() {
        let mut limiter = Limiter::new(RateLimit { answers_per_second: 10, burst_seconds: 2 });
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let verdicts =
            |limiter: &mut Limiter, at: u64| -> Vec<Verdict> { (0..30).map(|_| limiter.verdict_at(one, at)).collect() };
        let first = verdicts(&mut limiter, 0);
        assert_eq!(first[..20], [Verdict::Send; 20]);
        assert_eq!(first[20..24], [Verdict::SendCut, Verdict::Drop, Verdict::SendCut, Verdict::Drop]);
        assert_eq!(limiter.verdict_at("198.51.100.1".parse().unwrap(), 0), Verdict::Send);
        let later = verdicts(&mut limiter, 1_000);
        assert_eq!(later.iter().filter(|verdict| **verdict == Verdict::Send).count(), 10);
    }
}
