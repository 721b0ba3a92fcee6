//! From answers to health: counting, and nothing else.

use forebay_world::Timestamp;

use super::{Answer, Probe};

/// How a machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has not answered often enough to say.
    Unknown,
    /// Well.
    Healthy,
    /// Not well.
    Unhealthy,
}

/// The answers of one machine, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRecord {
    health: Health,
    since: Timestamp,
    healthy_after: u32,
    unhealthy_after: u32,
    /// Answers of the same kind since the last of the other.
    run: u32,
    is_run_good: bool,
    heard: Option<Timestamp>,
}

impl HealthRecord {
    /// Nothing is known, as of `at`.
    pub fn new(probe: &Probe, at: Timestamp) -> HealthRecord {
        HealthRecord {
            health: Health::Unknown,
            since: at,
            healthy_after: probe.healthy_after.max(1),
            unhealthy_after: probe.unhealthy_after.max(1),
            run: 0,
            is_run_good: false,
            heard: None,
        }
    }

    /// Counts an answer; whether the health changed by it.
    pub fn note(&mut self, answer: &Answer, at: Timestamp) -> bool {
        let is_good = match answer {
            Answer::Well => true,
            Answer::Failed(_) => false,
            Answer::NotAsked => return false,
        };
        self.heard = Some(at);
        self.run = if self.is_run_good == is_good { self.run.saturating_add(1) } else { 1 };
        self.is_run_good = is_good;
        let (enough, health) =
            if is_good { (self.healthy_after, Health::Healthy) } else { (self.unhealthy_after, Health::Unhealthy) };
        let changes = self.run >= enough && self.health != health;
        if changes {
            (self.health, self.since) = (health, at);
        }
        changes
    }

    /// How it does.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Since when it does so.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// When it was asked last, with an answer good or bad.
    pub fn heard(&self) -> Option<Timestamp> {
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ProbeFailure;
    use super::*;

    fn record(healthy_after: u32, unhealthy_after: u32) -> HealthRecord {
        HealthRecord::new(&Probe { healthy_after, unhealthy_after, ..Probe::default() }, Timestamp::EPOCH)
    }

    #[test]
    fn so_many_in_a_row_decide_and_what_was_not_asked_does_not() {
        let mut record = record(2, 3);
        let mut healths = String::new();
        for (second, answer) in (1..).zip("+-+ +--- -+- ---++".chars()) {
            let answer = match answer {
                '+' => Answer::Well,
                '-' => Answer::Failed(ProbeFailure::Refused),
                _ => Answer::NotAsked,
            };
            let changed = record.note(&answer, Timestamp::from_secs(second));
            assert_eq!(changed, record.since() == Timestamp::from_secs(second));
            healths.push(match record.health() {
                Health::Unknown => '?',
                Health::Healthy => 'h',
                Health::Unhealthy => 'u',
            });
        }
        assert_eq!(healths, "????hhhuuuuuuuuuuh");
        assert_eq!(record.heard(), Some(Timestamp::from_secs(18)));
    }

    proptest! {
        #[test]
        fn the_health_is_that_of_the_last_long_enough_run(
            answers in prop::collection::vec(any::<bool>(), 0..60),
            healthy_after in 1u32..5,
            unhealthy_after in 1u32..5,
        ) {
            let mut record = record(healthy_after, unhealthy_after);
            let mut expected = Health::Unknown;
            for (at, good) in answers.iter().enumerate() {
                let answer = if *good { Answer::Well } else { Answer::Failed(ProbeFailure::Status(503)) };
                record.note(&answer, Timestamp::from_secs(at as u64));
                let enough = if *good { healthy_after } else { unhealthy_after } as usize;
                let run = &answers[(at + 1).saturating_sub(enough)..=at];
                if run.len() == enough && run.iter().all(|other| other == good) {
                    expected = if *good { Health::Healthy } else { Health::Unhealthy };
                }
                prop_assert_eq!(record.health(), expected);
            }
        }
    }
}
