//! Which slices stand: those that somebody needs, and for a while those that somebody needed.
//!
//! A machine without its slice would send as best effort, so a slice is there before the first machine and until the last
//! is gone, planned or seen. What lingers spares switches the coming and going of a class with little demand.

use forebay_world::{BitsPerSecond, Duration, Timestamp};

/// What a cell needs of its slice at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Need {
    /// What the guarantee should cover \[bit/s\]; `None` keeps what it is.
    pub cover: Option<BitsPerSecond>,
    /// What is there to be carried now \[bit/s\]; `None` where that was not seen.
    pub now: Option<BitsPerSecond>,
    /// A machine of the cell is planned, or was seen.
    pub machines: bool,
    /// Whether there is demand, seen or expected; `None` where nobody can say.
    pub demand: Option<bool>,
}

/// Whether a slice stands, tick after tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Standing {
    /// Since when nobody needs it.
    idle_since: Option<Timestamp>,
}

impl Standing {
    /// Whether a slice shall stand that does or does not yet, and that is let go when it has been idle for `linger`.
    pub(super) fn stands(&mut self, already: bool, need: &Need, at: Timestamp, linger: Duration) -> bool {
        if need.machines || need.demand == Some(true) {
            self.idle_since = None;
            return true;
        }
        if !already {
            self.idle_since = None;
            return false;
        }
        // What was not seen is not idle; what has been idle until now may be again.
        let Some(false) = need.demand else { return true };
        let since = *self.idle_since.get_or_insert(at);
        let over = at.since(since) >= linger;
        if over {
            self.idle_since = None;
        }
        !over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(needs: &[(bool, Option<bool>)], linger_minutes: u64) -> Vec<bool> {
        let (mut standing, mut stands) = (Standing::default(), false);
        let tick = |(minute, &(machines, demand)): (usize, &(bool, Option<bool>))| {
            let need = Need { machines, demand, ..Need::default() };
            let at = Timestamp::from_secs(60 * minute as u64);
            stands = standing.stands(stands, &need, at, Duration::from_mins(linger_minutes));
            stands
        };
        needs.iter().enumerate().map(tick).collect()
    }

    #[test]
    fn a_slice_comes_with_its_first_need_and_goes_a_while_after_its_last() {
        const IDLE: (bool, Option<bool>) = (false, Some(false));
        const UNSEEN: (bool, Option<bool>) = (false, None);
        const MACHINE: (bool, Option<bool>) = (true, Some(false));
        const DEMAND: (bool, Option<bool>) = (false, Some(true));
        assert_eq!(course(&[IDLE, UNSEEN, MACHINE, IDLE, IDLE, IDLE], 2), [false, false, true, true, true, false]);
        assert_eq!(
            course(&[DEMAND, IDLE, MACHINE, IDLE, IDLE, IDLE, IDLE], 2),
            [true, true, true, true, true, false, false]
        );
        assert_eq!(course(&[MACHINE, IDLE, UNSEEN, UNSEEN, IDLE], 2), [true, true, true, true, false]);
        assert_eq!(course(&[MACHINE, IDLE], 0), [true, false]);
    }
}
