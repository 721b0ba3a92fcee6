//! Recordings as load: a series of counts or a log of queries, dealt out over the regions and classes of a scenario.
//!
//! The readers of files are in `forebay-adapters`; here it is decided what their rows mean in a scenario. Names and
//! networks that the scenario does not know are dealt out over what it has, always in the same way, and counted: a
//! recording that was never seen before replays all the same.

use std::path::{Path, PathBuf};

use forebay_adapters::ReadError;
use forebay_sim::setup::Load;
use forebay_world::{Duration, Timestamp};
use jiff::tz::TimeZone;

use super::finding::Findings;
use super::site::{Site, require_range};
use super::spec::{ReplayKind, ReplaySpec, ScenarioSpec};
use super::{Input, ScenarioError};

pub(super) mod counts;
mod queries;

/// A recording as load.
#[derive(Debug)]
pub(super) struct Replayed {
    /// Begin of the recording.
    pub(super) start: Timestamp,
    /// Its end.
    pub(super) end: Timestamp,
    /// Time that the run begins before the recording …
    pub(super) lead_in: Duration,
    /// … and goes on after it.
    pub(super) lead_out: Duration,
    /// Load of each client region × class, dense.
    pub(super) load: Vec<Load>,
    /// Files that were read.
    pub(super) inputs: Vec<Input>,
    /// What the operator should know.
    pub(super) remarks: Vec<String>,
}

/// Checks the `[replay]` section without opening what it names.
pub(super) fn check(spec: &ScenarioSpec, site: &Site, folder: &Path, findings: &mut Findings) {
    let Some(replay) = &spec.replay else { return };
    let place = replay.span();
    let replay = replay.get_ref();
    if let Some(scale) = &replay.scale {
        require_range(scale, "scale", 0.0, 1e12, findings);
    }
    if let Some(peak) = &replay.peak_sessions_per_second {
        require_range(peak, "peak_sessions_per_second", 0.0, 1e9, findings);
        if let Some(scale) = &replay.scale {
            findings.add(
                scale.span(),
                "`scale` and `peak_sessions_per_second` are both given",
                "one of the two",
                "`scale` keeps the recording's numbers, `peak_sessions_per_second` fits them to the scenario",
            );
        }
    }
    findings.require(
        (1..=1_000_000).contains(replay.sessions_per_query.get_ref()),
        replay.sessions_per_query.span(),
        || format!("`sessions_per_query` is {}", replay.sessions_per_query.get_ref()),
        "allowed: 1 to 1000000",
        "each query stands for at least one session",
    );
    super::zone::find(&replay.recorded_in, findings);
    let mut sum = 0.0;
    for (class, share) in &replay.classes {
        site.classes.find(class, findings);
        require_range(share, class.get_ref(), 0.0, 1e12, findings);
        sum += share.get_ref().max(0.0);
    }
    if let Some((class, _)) = replay.classes.first_key_value() {
        findings.require(
            sum > 0.0,
            class.span(),
            || "the shares of the classes are all 0".to_owned(),
            "at least one above 0 is needed",
            "leave `classes` away for even shares",
        );
    }
    let populations: f64 = spec.region.iter().map(|region| *region.get_ref().population.get_ref()).sum();
    findings.require(
        populations > 0.0 || !site.regions.listed().iter().any(|_| true),
        place.clone(),
        || "a replay has no region to go to: all populations are 0".to_owned(),
        "at least one region needs a `population` above 0",
        "give a region `population = 1.0`",
    );
    for name in replay.names.values() {
        if site.regions.get(name.get_ref()).is_none() && site.classes.get(name.get_ref()).is_none() {
            site.regions.find(name, findings);
        }
    }
    for class in replay.suffixes.values() {
        site.classes.find(class, findings);
    }
    for (prefix, region) in &replay.prefixes {
        site.regions.find(region, findings);
        queries::check_prefix(prefix, findings);
    }
    if let (Some((prefix, _)), Some(_)) = (replay.prefixes.first_key_value(), &replay.prefix_table) {
        findings.add(
            prefix.span(),
            "`prefixes` and `prefix_table` are both given",
            "one of the two",
            "put all networks into the table",
        );
    }
    for (name, key) in [(&replay.file, "file"), (&replay.prefix_table, "prefix_table"), (&replay.mmdb, "mmdb")] {
        if let Some(name) = name
            && name.get_ref() != "-"
            && !folder.join(name.get_ref()).is_file()
        {
            findings.add(
                name.span(),
                format!("`{key}` names a file that is not there: {}", folder.join(name.get_ref()).display()),
                "taken from the scenario's folder unless absolute",
                if key == "file" {
                    "name another, or leave it away and give --replay FILE"
                } else {
                    "name another, or leave it away"
                },
            );
        }
    }
}

/// Reads the recording and deals it out.
pub(super) fn load(
    spec: &ScenarioSpec,
    site: &Site,
    zones: &[TimeZone],
    folder: &Path,
    other_file: Option<&Path>,
) -> Result<Replayed, ScenarioError> {
    let replay = spec.replay.as_ref().expect("a scenario without [replay] is not replayed").get_ref();
    let file: Option<PathBuf> =
        other_file.map(Path::to_owned).or_else(|| replay.file.as_ref().map(|file| folder.join(file.get_ref())));
    match replay.kind.get_ref() {
        ReplayKind::Counts => counts::load(spec, replay, site, zones, file.as_deref()),
        ReplayKind::Dns => queries::load(spec, replay, site, folder, file.as_deref()),
    }
}

/// Shares of the classes, dense, sum 1: as given, or even.
fn class_shares(replay: &ReplaySpec, site: &Site) -> Vec<f64> {
    let count = site.classes.listed().len();
    if replay.classes.is_empty() {
        return vec![1.0 / count as f64; count];
    }
    let mut shares = vec![0.0; count];
    for (class, share) in &replay.classes {
        if let Some(class) = site.classes.get(class.get_ref()) {
            shares[class] += share.get_ref();
        }
    }
    let sum: f64 = shares.iter().sum();
    shares.iter().map(|share| share / sum).collect()
}

/// Shares of the regions by population, dense, sum 1.
fn region_shares(spec: &ScenarioSpec) -> Vec<f64> {
    let weights: Vec<f64> = spec.region.iter().map(|region| *region.get_ref().population.get_ref()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// The position at which a point of the unit interval falls among shares of sum 1.
fn by_share(shares: &[f64], point: f64) -> usize {
    let mut reached = 0.0;
    for (index, share) in shares.iter().enumerate() {
        reached += share;
        if point < reached {
            return index;
        }
    }
    // Rounding left the last sliver: the last share that is not empty.
    shares.iter().rposition(|share| *share > 0.0).unwrap_or(0)
}

/// A point of the unit interval that is a function of the text alone.
fn point_of(text: &str) -> f64 {
    let hash = blake3::hash(text.as_bytes());
    let word = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"));
    (word >> 11) as f64 / (1u64 << 53) as f64
}

/// What a file is, for the manifest of a run.
pub(super) fn describe(role: &'static str, path: &Path) -> Result<Input, ScenarioError> {
    let unreadable =
        |source| ScenarioError::Recording(Box::new(ReadError::Unreadable { path: path.to_owned(), source }));
    let mut hasher = blake3::Hasher::new();
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    std::io::copy(&mut file, &mut hasher).map_err(unreadable)?;
    Ok(Input {
        role,
        name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        blake3: hasher.finalize().to_hex().to_string(),
    })
}

impl ReplaySpec {
    /// Names files without their folders, so that a run directory is the same on every machine.
    pub(super) fn forget_folders(&mut self, other_file: Option<&Path>) {
        if let Some(other) = other_file {
            self.file = Some(super::unplaced(other.display().to_string()));
        }
        for name in [&mut self.file, &mut self.prefix_table, &mut self.mmdb].into_iter().flatten() {
            if let Some(last) = Path::new(name.get_ref()).file_name() {
                *name.get_mut() = last.to_string_lossy().into_owned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_fall_by_share() {
        let shares = [0.5, 0.0, 0.5];
        for (point, index) in [(0.0, 0), (0.49, 0), (0.5, 2), (0.999, 2), (1.0, 2)] {
            assert_eq!(by_share(&shares, point), index, "{point}");
        }
    }

    /// 10,000 names over even thirds: each count is within four standard deviations of its mean.
    #[test]
    fn names_are_dealt_out_evenly() {
        let shares = [1.0 / 3.0; 3];
        let mut counts = [0.0f64; 3];
        for n in 0..10_000 {
            counts[by_share(&shares, point_of(&format!("10.47.{n}.0/24")))] += 1.0;
        }
        for count in counts {
            assert!((count - 10_000.0 / 3.0).abs() < 4.0 * (10_000.0f64 * 2.0 / 9.0).sqrt(), "{counts:?}");
        }
    }
}
