//! A series of request counts as load: rates for each region × class.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use forebay_adapters::CountSeries;
use forebay_adapters::counts::read_counts;
use forebay_sim::setup::{Load, RateSeries};
use forebay_world::{ClassId, Duration, RegionId};
use jiff::tz::TimeZone;

use super::{Replayed, class_shares, describe, region_shares};
use crate::scenario::names::Names;
use crate::scenario::site::Site;
use crate::scenario::spec::{ReplaySpec, ScenarioSpec};
use crate::scenario::{ScenarioError, surrogate, zone};

const DAY: Duration = Duration::from_hours(24);

/// Reads counts and deals them out.
pub(super) fn load(
    spec: &ScenarioSpec,
    replay: &ReplaySpec,
    site: &Site,
    zones: &[TimeZone],
    file: Option<&Path>,
) -> Result<Replayed, ScenarioError> {
    let (recorded, inputs, mut remarks) = match file {
        Some(file) => {
            let recorded = read_counts(file).map_err(|error| ScenarioError::Recording(Box::new(error)))?;
            let inputs = if file == Path::new("-") { Vec::new() } else { vec![describe("replay", file)?] };
            let name = file.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy());
            let mut remarks = vec![format!(
                "{name}: {} rows every {} from {} to {}",
                recorded.report.rows, recorded.step, recorded.report.first, recorded.report.last
            )];
            remarks.extend(recorded.report.remarks().into_iter().map(|remark| format!("{name}: {remark}")));
            (recorded, inputs, remarks)
        }
        None => {
            let start = spec.scenario.start.as_ref().map(|start| start.get_ref().0.saturating_add(replay.lead_in));
            (surrogate::counts(start), Vec::new(), vec![surrogate::REMARK.to_owned()])
        }
    };
    let steps = recorded.series.first().map_or(0, |series| series.values.len());
    let end = (recorded.step.as_nanos().checked_mul(steps as u64))
        .and_then(|span| recorded.start.checked_add(Duration::from_nanos(span)))
        .ok_or_else(|| ScenarioError::Replay {
            message: format!("{steps} steps of {} end after the year 2554", recorded.step),
            hint: "times reach from 1970 to 2554".to_owned(),
        })?;

    let closed: Vec<Vec<f64>> = recorded.series.iter().map(|series| without_gaps(&series.values)).collect();
    let rates = deal(spec, replay, site, zones, (&recorded, &closed), &mut remarks)?;
    let mut load = vec![Load::None; site.topology.cells()];
    for (cell, sessions_per_second) in rates {
        load[cell] =
            Load::Series(Arc::new(RateSeries { start: recorded.start, step: recorded.step, sessions_per_second }));
    }
    Ok(Replayed {
        start: recorded.start,
        end,
        lead_in: replay.lead_in,
        lead_out: replay.lead_out,
        load,
        inputs,
        remarks,
    })
}

/// Sessions that begin in each step \[1/s\], of each region × class (dense) that gets some: the counts of a recording, as
/// `values` has them for each of its series, dealt out and scaled as `[replay]` says. What is not a number stays none.
pub(in crate::scenario) fn deal(
    spec: &ScenarioSpec,
    replay: &ReplaySpec,
    site: &Site,
    zones: &[TimeZone],
    (recorded, values): (&CountSeries, &[Vec<f64>]),
    remarks: &mut Vec<String>,
) -> Result<BTreeMap<usize, Vec<f64>>, ScenarioError> {
    let steps = values.first().map_or(0, Vec::len);
    let end = recorded.start.saturating_add(recorded.step * steps as u64);
    let columns = columns_of(recorded, replay, site, remarks);
    let scale = scale_of(recorded, replay, remarks)?;
    let reference = TimeZone::get(replay.recorded_in.get_ref()).unwrap_or(TimeZone::UTC);
    let shift = replay.shift_zones && end.since(recorded.start) >= DAY;
    if replay.shift_zones && !shift && recorded.series.iter().any(|series| series.region.is_none()) {
        remarks.push("the recording is shorter than a day: regions are not moved to their local time".to_owned());
    }

    let mut rates: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let mut add = |cell: usize, share: f64, values: &[f64], index: &dyn Fn(usize) -> usize| {
        if share > 0.0 {
            let sum = rates.entry(cell).or_insert_with(|| vec![0.0; steps]);
            for (step, rate) in sum.iter_mut().enumerate() {
                *rate += values[index(step)] * share * scale;
            }
        }
    };
    let (regions, classes) = (region_shares(spec), class_shares(replay, site));
    for ((series, values), (region, class)) in recorded.series.iter().zip(values).zip(&columns) {
        for (region, region_share) in shares_of(*region, &regions) {
            let local = |step: usize| {
                if series.region.is_some() || !shift {
                    return step;
                }
                local_step(step, recorded, steps, &zones[region], &reference)
            };
            // Offsets change a few times a year: looking them up once a step, for all classes, is cheap enough.
            let moved: Vec<usize> = (0..steps).map(local).collect();
            for (class, class_share) in shares_of(*class, &classes) {
                let cell = site.topology.cell(RegionId::at(region), ClassId::at(class));
                add(cell, region_share * class_share, values, &|step| moved[step]);
            }
        }
    }
    Ok(rates)
}

/// One position with all of it, or every position with its share.
fn shares_of(position: Option<usize>, shares: &[f64]) -> Vec<(usize, f64)> {
    match position {
        Some(position) => vec![(position, 1.0)],
        None => shares.iter().copied().enumerate().collect(),
    }
}

/// The step of the recording whose local hour, where it was recorded, is that of `step` in `zone`: a day earlier or
/// later where the recording does not reach.
fn local_step(step: usize, recorded: &CountSeries, steps: usize, zone: &TimeZone, reference: &TimeZone) -> usize {
    let at = recorded.start.saturating_add(recorded.step * step as u64);
    let ahead = zone::offset_seconds(zone, at) - zone::offset_seconds(reference, at);
    let step_seconds = recorded.step.as_secs_f64();
    let moved = step as i64 + (f64::from(ahead) / step_seconds).round() as i64;
    let day = ((DAY.as_secs_f64() / step_seconds).round() as i64).max(1);
    let last = steps as i64 - 1;
    let moved = if moved > last { moved - ((moved - last + day - 1) / day) * day } else { moved };
    let moved = if moved < 0 { moved + ((-moved + day - 1) / day) * day } else { moved };
    moved.clamp(0, last) as usize
}

/// Region and class of each series of a recording, by name; names that the scenario does not have are dealt out in
/// their order.
fn columns_of(
    recorded: &CountSeries,
    replay: &ReplaySpec,
    site: &Site,
    remarks: &mut Vec<String>,
) -> Vec<(Option<usize>, Option<usize>)> {
    let mut regions = Dealer::new("region", &site.regions, replay);
    let mut classes = Dealer::new("class", &site.classes, replay);
    let columns = recorded
        .series
        .iter()
        .map(|series| {
            let region = series.region.as_deref().map(|name| regions.position(name));
            let class = series.class.as_deref().map(|name| classes.position(name));
            (region, class)
        })
        .collect();
    remarks.extend(regions.remark());
    remarks.extend(classes.remark());
    columns
}

/// Finds names of a recording among those of a scenario, and deals out those that are not there.
struct Dealer<'a> {
    kind: &'static str,
    names: &'a Names,
    replay: &'a ReplaySpec,
    dealt: BTreeMap<String, usize>,
}

impl<'a> Dealer<'a> {
    fn new(kind: &'static str, names: &'a Names, replay: &'a ReplaySpec) -> Self {
        Dealer { kind, names, replay, dealt: BTreeMap::new() }
    }

    fn position(&mut self, name: &str) -> usize {
        let ours = self.replay.names.get(name).map_or(name, |ours| ours.get_ref());
        let alike = || self.names.listed().iter().position(|known| known.eq_ignore_ascii_case(ours));
        if let Some(known) = self.names.get(ours).or_else(alike) {
            return known;
        }
        let next = self.dealt.len() % self.names.listed().len();
        *self.dealt.entry(name.to_owned()).or_insert(next)
    }

    fn remark(&self) -> Option<String> {
        if self.dealt.is_empty() {
            return None;
        }
        let mut shown: Vec<String> = self
            .dealt
            .iter()
            .take(6)
            .map(|(name, position)| {
                let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
                format!("{name} → {}", self.names.listed()[*position])
            })
            .collect();
        if self.dealt.len() > shown.len() {
            shown.push("…".to_owned());
        }
        Some(format!(
            "{} names of the recording are no {} of this scenario and were dealt out: {}",
            self.dealt.len(),
            self.kind,
            shown.join(", ")
        ))
    }
}

/// Sessions per second for each request per step.
fn scale_of(recorded: &CountSeries, replay: &ReplaySpec, remarks: &mut Vec<String>) -> Result<f64, ScenarioError> {
    let per_second = 1.0 / recorded.step.as_secs_f64();
    let Some(peak) = &replay.peak_sessions_per_second else {
        return Ok(per_second * replay.scale.as_ref().map_or(1.0, |scale| *scale.get_ref()));
    };
    let steps = recorded.series.first().map_or(0, |series| series.values.len());
    let highest = (0..steps)
        .map(|step| recorded.series.iter().filter_map(|series| series.values[step]).sum::<f64>())
        .fold(0.0, f64::max);
    if highest <= 0.0 || !highest.is_finite() {
        return Err(ScenarioError::Replay {
            message: format!("the recording's highest count is {highest}: it cannot be scaled to a peak"),
            hint: "give `scale` in place of `peak_sessions_per_second`".to_owned(),
        });
    }
    let scale = peak.get_ref() / (highest * per_second);
    remarks.push(format!(
        "the recording's peak of {highest} in {} becomes {} sessions/s: {scale:.6} sessions for each count",
        recorded.step,
        peak.get_ref()
    ));
    Ok(scale * per_second)
}

/// Values with gaps closed by straight lines; before the first and after the last there is nothing.
fn without_gaps(values: &[Option<f64>]) -> Vec<f64> {
    let mut closed = vec![0.0; values.len()];
    let mut before: Option<(usize, f64)> = None;
    for (step, value) in values.iter().enumerate() {
        let Some(value) = *value else { continue };
        closed[step] = value;
        if let Some((from, at)) = before {
            let slope = (value - at) / (step - from) as f64;
            for (n, gap) in closed[from + 1..step].iter_mut().enumerate() {
                *gap = at + slope * (n + 1) as f64;
            }
        }
        before = Some((step, value));
    }
    closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_closed_by_straight_lines() {
        assert_eq!(without_gaps(&[None, Some(2.0), None, None, Some(8.0), None]), [0.0, 2.0, 4.0, 6.0, 8.0, 0.0]);
        assert_eq!(without_gaps(&[None, None]), [0.0, 0.0]);
    }

    #[test]
    fn a_region_gets_the_recording_at_its_own_local_hour() {
        let recorded = surrogate::counts(None);
        let steps = recorded.series[0].values.len();
        let (singapore, utc) = (TimeZone::get("Asia/Singapore").unwrap(), TimeZone::UTC);
        let noon = 36 * 60;
        assert_eq!(local_step(noon, &recorded, steps, &singapore, &utc), noon + 8 * 60);
        let last = steps - 1;
        assert_eq!(local_step(last, &recorded, steps, &singapore, &utc), last + 8 * 60 - 24 * 60);
        let lima = TimeZone::get("America/Lima").unwrap();
        assert_eq!(local_step(0, &recorded, steps, &lima, &utc), 19 * 60);
        assert_eq!(local_step(last, &recorded, steps, &utc, &utc), last);
    }
}
