//! What production really did, seen by other means than those of whoever is tested: processes, the zone's records, the
//! kernel's counters, and what clients sent. Times are seconds since the Unix epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::edge::Edge;
use crate::witness;

struct Life {
    address: String,
    came: f64,
    went: Option<f64>,
}

pub(super) struct Truth {
    folder: PathBuf,
    begun: Instant,
    guests: BTreeMap<String, Life>,
    answers: Vec<(f64, BTreeSet<String>)>,
    sent: Vec<(f64, f64)>,
    carried: Vec<(f64, f64)>,
}

impl Truth {
    /// Of guests that are made in a folder.
    pub(super) fn new(folder: PathBuf) -> Truth {
        let guests = BTreeMap::new();
        Truth { folder, begun: Instant::now(), guests, answers: Vec::new(), sent: Vec::new(), carried: Vec::new() }
    }

    pub(super) fn elapsed(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    pub(super) fn now(&self) -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
    }

    /// Takes in what is now.
    pub(super) fn look(&mut self, edge: &Edge, sent: u64) {
        let now = self.now();
        let standing: BTreeMap<String, String> = witness::guests(&self.folder).into_values().collect();
        for (name, address) in &standing {
            self.guests.entry(name.clone()).or_insert(Life { address: address.clone(), came: now, went: None });
        }
        for (name, life) in &mut self.guests {
            if !standing.contains_key(name) {
                life.went.get_or_insert(now);
            }
        }
        self.sent.push((now, sent as f64));
        let records = edge.records();
        if self.answers.last().is_none_or(|(_, last)| *last != records) {
            self.answers.push((self.now(), records));
        }
        if self.carried.last().is_none_or(|(at, _)| now - at > 0.9)
            && let Some(bytes) = edge.slices_carried()
        {
            self.carried.push((self.now(), bytes as f64));
        }
    }

    /// Guests that there are.
    pub(super) fn standing(&self) -> usize {
        self.guests.values().filter(|life| life.went.is_none()).count()
    }

    /// When a guest came, and when it went.
    pub(super) fn life(&self, name: &str) -> (f64, Option<f64>) {
        let life = self.guests.get(name).unwrap_or_else(|| panic!("there was no {name}"));
        (life.came, life.went)
    }

    pub(super) fn address(&self, name: &str) -> &str {
        &self.guests[name].address
    }

    pub(super) fn machines_at(&self, at: f64) -> u64 {
        let stood = |life: &&Life| life.came <= at && life.went.is_none_or(|went| went > at);
        self.guests.values().filter(stood).count() as u64
    }

    /// Time of machines between two moments \[s\].
    pub(super) fn machine_seconds(&self, from: f64, until: f64) -> f64 {
        let stood = |life: &Life| (life.went.unwrap_or(until).min(until) - life.came.max(from)).max(0.0);
        self.guests.values().map(stood).sum()
    }

    /// Addresses that were answered.
    pub(super) fn answers_at(&self, at: f64) -> BTreeSet<String> {
        let last = self.answers.iter().take_while(|(since, _)| *since <= at).last();
        last.map(|(_, answers)| answers.clone()).unwrap_or_default()
    }

    /// When clients were sent to a guest for the last time.
    pub(super) fn answered_until(&self, name: &str) -> f64 {
        let address = self.address(name);
        let mut ended = None;
        let mut was = false;
        for (at, answers) in &self.answers {
            let is = answers.contains(address);
            if was && !is {
                ended = Some(*at);
            }
            was = is;
        }
        ended.unwrap_or_else(|| panic!("{name} is answered still"))
    }

    /// Queries that clients had sent.
    pub(super) fn sent_by(&self, at: f64) -> f64 {
        between(&self.sent, at)
    }

    /// Bytes that slices had carried.
    pub(super) fn carried_by(&self, at: f64) -> f64 {
        between(&self.carried, at)
    }
}

/// What a count was at a moment between those at which it was read.
fn between(counts: &[(f64, f64)], at: f64) -> f64 {
    let after = counts.partition_point(|(read, _)| *read < at).clamp(1, counts.len() - 1);
    let ((t0, c0), (t1, c1)) = (counts[after - 1], counts[after]);
    c0 + (c1 - c0) * ((at - t0) / (t1 - t0)).clamp(0.0, 1.0)
}

/// A moment of a report.
pub(super) fn seconds_of(value: &Value) -> f64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no moment: {value}"));
    let moment: jiff::Timestamp = text.parse().unwrap();
    moment.as_nanosecond() as f64 / 1e9
}
