use std::sync::LazyLock;

use forebay_world::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::forecast::artefact::{Data, seal};
use crate::forecast::chance::Chance;
use crate::forecast::lstm::{Lstm, LstmConfig, TrainingDevice, TrainingSeries};
use crate::forecast::model::boosted::Boosted;
use crate::forecast::model::features::{Base, NETS};
use crate::forecast::model::member::Global;
use crate::forecast::model::perceptron::Perceptron;
use crate::forecast::model::recurrent::Recurrent;
use crate::forecast::quantiles::LEVELS;

const HORIZON: usize = 4;

fn grid() -> Grid {
    Grid::utc(Timestamp::from_secs(1_767_225_600), Duration::from_hours(1))
}

/// A daily wave with noise that lasts: `memory` is the share of it that is left an hour later.
fn wave(seed: u64, days: usize, memory: &dyn Fn(usize) -> f64) -> Vec<f64> {
    let mut chance = Chance::new(seed, "trained");
    let mut noise = 0.0;
    let value = |k: usize| {
        noise = memory(k) * noise + 0.25 * (1.0 - memory(k).powi(2)).sqrt() * chance.normal();
        let season = 2.0 + (k as f64 / 24.0 * std::f64::consts::TAU).sin();
        10f64.powi(seed as i32 % 4) * season * noise.exp()
    };
    (0..24 * days).map(value).collect()
}

fn waves(days: usize) -> Vec<Vec<f64>> {
    (0..3).map(|seed| wave(seed, days, &|_| 0.9)).collect()
}

fn pasts<'a>(grid: &'a Grid, series: &'a [Vec<f64>]) -> Vec<Past<'a>> {
    series.iter().map(|values| Past::new(grid, 0, values)).collect()
}

/// An LSTM small enough for a test.
fn network(set: &[Vec<f64>]) -> Lstm {
    let config = LstmConfig {
        context: 24,
        hidden: 16,
        summary: 8,
        embedding: 4,
        units: 16,
        training_steps: 300,
        batch: 16,
        device: TrainingDevice::Processor,
        ..LstmConfig::default()
    };
    let set: Vec<TrainingSeries<'_>> =
        set.iter().map(|values| TrainingSeries { values, steps_per_day: 24, first_step_of_day: 0 }).collect();
    Lstm::train(&set, HORIZON, &config, 1).unwrap()
}

/// One of every kind that learns.
static TRAINED: LazyLock<Vec<Trained>> = LazyLock::new(|| {
    let (grid, series) = (grid(), waves(28));
    let set = pasts(&grid, &series);
    let origin = Origin::new(&set, HORIZON, 1);
    let of = |kind: Kind| Trained { kind, origin: origin.clone() };
    let trees = Boosted::train(Base::Last, &set, HORIZON, 1).unwrap();
    let net = Perceptron::train(Base::Season, NETS, &set, HORIZON, 1).unwrap();
    let network = network(&series);
    let members: Vec<Arc<dyn model::member::Member>> =
        vec![Arc::new(trees.clone()), Arc::new(net.clone()), Arc::new(Recurrent(network.clone()))];
    let early = members.iter().rev().cloned().collect();
    vec![
        of(Kind::Model(Arc::new(Global::new("boosted", trees)))),
        of(Kind::Model(Arc::new(Global::new("perceptron", net)))),
        of(Kind::Model(Arc::new(Recurrent(network)))),
        of(Kind::Ensemble(Arc::new(Ensemble::of(HORIZON, members, early)))),
    ]
});

/// What it says at many moments of a series.
fn said(trained: &Trained, values: &[f64]) -> Vec<Vec<[u64; LEVELS.len()]>> {
    let mut follower = trained.follow(&grid(), 24 * 22, 24 * 21);
    let mut said = Vec::new();
    for (nth, value) in values.iter().enumerate() {
        if nth % 31 == 30 {
            let outlook = follower.forecast(HORIZON).unwrap();
            assert_eq!(outlook.instead, None, "at {nth}");
            said.push(outlook.quantiles.rows().iter().map(|row| row.map(f64::to_bits)).collect());
        }
        follower.observe((nth % 13 != 12).then_some(*value));
    }
    said
}

#[test]
fn what_is_read_forecasts_as_what_was_written_bit_for_bit() {
    let values = &wave(9, 25, &|_| 0.8);
    for trained in &*TRAINED {
        let bytes = trained.to_bytes();
        assert_eq!(bytes, trained.to_bytes());
        let read = Trained::from_bytes(&bytes).unwrap();
        assert_eq!((read.name(), read.origin()), (trained.name(), trained.origin()));
        assert_eq!(read.id(), blake3::hash(&bytes).to_hex().to_string());
        assert_eq!(said(&read, values), said(trained, values), "{}", trained.name());
        assert!(bytes.len() < 4 << 20, "{} bytes", bytes.len());
    }
}

#[test]
fn what_learns_nothing_has_a_file_too() {
    let (grid, series) = (grid(), waves(21));
    let set = pasts(&grid, &series);
    for name in ["naive", "seasonal-naive-day", "seasonal-naive-week", "ets", "mstl"] {
        let trained = train(name, &set, 48, 5).unwrap().unwrap();
        let read = Trained::from_bytes(&trained.to_bytes()).unwrap();
        assert_eq!((read.name(), read.origin()), (name, trained.origin()));
        assert_eq!(read.origin().data_end, grid.at(24 * 21));
        let outlooks = [trained, read].map(|trained| {
            let mut follower = trained.follow(&grid, 24 * 21, 0);
            series[0].iter().for_each(|value| follower.observe(Some(*value)));
            follower.forecast(48).unwrap()
        });
        assert_eq!(outlooks[0], outlooks[1]);
        assert_eq!(outlooks[0].by, name);
    }
}

#[test]
fn the_origin_tells_what_it_was_trained_on() {
    let (grid, series) = (grid(), waves(21));
    let origin = |set: &[Past<'_>], horizon, seed| Origin::new(set, horizon, seed);
    let one = origin(&pasts(&grid, &series), 4, 1);
    assert_eq!(one, origin(&pasts(&grid, &series), 4, 1));
    let mut other = series.clone();
    other[2][300] += 1e-9;
    assert_ne!(one.data_blake3, origin(&pasts(&grid, &other), 4, 1).data_blake3);
    assert_ne!(one.data_blake3, origin(&pasts(&grid, &series)[..2], 4, 1).data_blake3);
    let trained = &TRAINED[0];
    assert_eq!(trained.seen(&Grid::utc(Timestamp::EPOCH, Duration::from_hours(1))) as u64, {
        trained.origin().data_end.since(Timestamp::EPOCH) / Duration::from_hours(1)
    });
    assert!(trained.fits(Duration::from_hours(1), 3).is_ok());
    let why = trained.fits(Duration::from_mins(15), 3).unwrap_err().to_string();
    assert_eq!(why, "trained for steps of 1 h, asked for steps of 15 min");
    assert!(trained.fits(Duration::from_hours(1), 5).is_err());
}

/// The file of `trained` with its description changed and sealed again, and numbers put in the place of its own where
/// `numbers` has some.
fn forged(trained: &Trained, change: impl FnOnce(&mut Value), numbers: Option<Tensors>) -> Vec<u8> {
    let mut own = Tensors::default();
    let model = trained.kind.save(&mut own);
    let mut description = serde_json::to_value(&trained.origin).unwrap();
    let more = json!({"format": 1, "kind": trained.name(), "levels": LEVELS, "model": model});
    description.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    change(&mut description);
    seal(description, &numbers.unwrap_or(own))
}

fn refusal(bytes: &[u8]) -> String {
    match Trained::from_bytes(bytes) {
        Ok(read) => panic!("a model of kind {} was read", read.name()),
        Err(why) => why.to_string(),
    }
}

#[test]
fn a_file_that_is_none_of_ours_is_refused_with_its_reason() {
    let [boosted, perceptron, lstm, ensemble] = &TRAINED[..] else { panic!("four kinds") };
    assert!(Trained::from_bytes(&forged(boosted, |_| {}, None)).is_ok());
    let set = |path: &'static str, value: Value| {
        move |description: &mut Value| {
            *description.pointer_mut(path).unwrap() = value;
        }
    };
    let mut foreign = Tensors::default();
    foreign.put("x", &[1], Data::Single(&[1.0]));
    let mut none = ensemble.to_bytes();
    none.truncate(4000);
    for (bytes, reason) in [
        (vec![], "not a model file"),
        (b"{}".to_vec(), "not a model file"),
        (b"time,value\n2026-01-01,3\n".to_vec(), "not a model file"),
        (u64::MAX.to_le_bytes().to_vec(), "not a model file"),
        (none, "not a model file"),
        (safetensors::serialize([("a", view())], None).unwrap(), "no key `forebay`"),
        (forged(boosted, set("/format", json!(7)), None), "format 7 of model files; this version of forebay reads 1"),
        (forged(boosted, set("/kind", json!("oracle")), None), "kind `oracle`; allowed is one of naive"),
        (forged(boosted, set("/kind", json!("lstm")), None), "found boosted, allowed is lstm"),
        (forged(boosted, set("/kind", json!("ensemble")), None), "its description cannot be read"),
        (forged(boosted, set("/model", Value::Null), None), "allowed is what a model of kind `boosted` has learned"),
        (forged(boosted, set("/levels", json!([0.5])), None), "quantile levels: found [0.5]"),
        (forged(boosted, set("/horizon", json!(0)), None), "horizon: found 0, allowed is 1 to"),
        (forged(boosted, set("/horizon", json!(1u64 << 60)), None), "horizon: found"),
        (forged(boosted, set("/horizon", json!(25)), None), "allowed is up to a day"),
        (forged(boosted, set("/horizon", json!(5)), None), "steps ahead of a part: found 4, allowed is 5"),
        (forged(boosted, set("/step", json!("0 s")), None), "step: found 0 s"),
        (forged(boosted, set("/step", json!("soon")), None), "its description cannot be read"),
        (forged(boosted, |d| d["x"] = json!(1), None), "its description cannot be read"),
        (forged(boosted, set("/model/features", json!(54)), None), "features that are described: found 54"),
        (forged(boosted, |_| {}, Some(foreign)), "numbers `starts`: they are missing"),
        (
            forged(perceptron, set("/model/inputs", json!([1, 44])), None),
            "numbers `mean`: F32 [42], allowed is F32 [43]",
        ),
        (forged(perceptron, set("/model/inputs", json!([40, 90])), None), "inputs of a net: found 40 to 90"),
        (forged(perceptron, set("/model/nets", json!(1e9 as u64)), None), "nets that are averaged: found 1000000000"),
        (forged(perceptron, set("/model/nets", json!(2)), None), "no such model has them"),
        (forged(lstm, set("/model/architecture/hidden", json!(17)), None), "hidden of an LSTM: found 17"),
        (forged(lstm, set("/model/architecture/units", json!(32)), None), "allowed is F32 [8, 32]"),
        (forged(lstm, set("/model/architecture/context", json!(1u64 << 40)), None), "context of an LSTM: found"),
        (forged(ensemble, set("/model/members", json!([])), None), "members of an ensemble: found 0"),
        (forged(ensemble, |d| drop(d["model"]["early"].as_array_mut().unwrap().pop()), None), "early members"),
    ] {
        let why = refusal(&bytes);
        assert!(why.contains(reason), "{why}, not {reason}");
    }
}

fn view() -> safetensors::tensor::TensorView<'static> {
    safetensors::tensor::TensorView::new(safetensors::Dtype::U8, vec![1], &[1]).unwrap()
}

/// A forest's numbers, one of them another.
fn forest(change: impl FnOnce(&mut Vec<i32>, &mut Vec<i32>, &mut Vec<f32>, &mut Vec<f64>)) -> Tensors {
    // Seven forests of two trees: one split twice, one leaf alone.
    let mut sizes = [2, 0].repeat(7);
    let mut nodes = [3, -1, 1, 5, -2, -3].repeat(7);
    let (mut leaves, mut starts) = ([0.1, 0.2, 0.3, 0.4].repeat(7), vec![0.0; 7]);
    change(&mut sizes, &mut nodes, &mut leaves, &mut starts);
    let mut numbers = Tensors::default();
    numbers.put("starts", &[7], Data::Double(&starts));
    numbers.put("trees", &[7], Data::Whole(&[2; 7]));
    numbers.put("sizes", &[sizes.len()], Data::Whole(&sizes));
    numbers.put("nodes", &[nodes.len() / 3, 3], Data::Whole(&nodes));
    numbers.put("limits", &[nodes.len() / 3], Data::Single(&vec![0.5; nodes.len() / 3]));
    numbers.put("leaves", &[leaves.len()], Data::Single(&leaves));
    numbers
}

#[test]
fn numbers_that_are_no_forest_are_refused() {
    let read = |numbers| Trained::from_bytes(&forged(&TRAINED[0], |_| {}, Some(numbers)));
    assert!(read(forest(|_, _, _, _| {})).is_ok());
    for (numbers, reason) in [
        (forest(|_, nodes, _, _| nodes[0] = 41), "numbers `nodes`: tree 0 is none"),
        (forest(|_, nodes, _, _| nodes[2] = 0), "tree 0 is none"),
        (forest(|_, nodes, _, _| nodes[5] = 1), "tree 0 is none"),
        (forest(|_, nodes, _, _| nodes[8] = 9), "tree 2 is none"),
        (forest(|_, nodes, _, _| nodes[4] = -3), "tree 0 is none"),
        (forest(|_, nodes, _, _| nodes[4] = i32::MIN), "tree 0 is none"),
        (forest(|sizes, _, _, _| sizes[0] = -1), "numbers `sizes`: allowed are 0 to 31"),
        (forest(|sizes, _, _, _| sizes[0] = i32::MAX), "numbers `sizes`"),
        (forest(|sizes, _, _, _| (sizes[0], sizes[2]) = (1, 3)), "is none"),
        (forest(|_, _, leaves, _| leaves[3] = f32::NAN), "numbers `leaves`: not all of them are finite"),
        (forest(|_, _, leaves, _| leaves.truncate(27)), "numbers `leaves`: F32 [27], allowed is F32 [28]"),
        (forest(|_, _, _, starts| starts[6] = f64::INFINITY), "numbers `starts`: not all of them are finite"),
    ] {
        let Err(why) = read(numbers) else { panic!("{reason}") };
        assert!(why.to_string().contains(reason), "{why}, not {reason}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever bit falls: either nobody can tell, or it is refused. Whatever is cut off is missed.
    #[test]
    fn a_damaged_file_is_refused_and_never_panics(
        kind in 0usize..4, at in any::<prop::sample::Index>(), flip in 1u8..,
        cut in any::<prop::sample::Index>(), in_header in any::<bool>(),
    ) {
        static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| TRAINED.iter().map(Trained::to_bytes).collect());
        let original = &FILES[kind];
        let mut bytes = original.clone();
        let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        // Half of the damage strikes the header, where it matters.
        let place = if in_header { at.index(header) } else { at.index(bytes.len()) };
        bytes[place] ^= flip;
        if let Ok(read) = Trained::from_bytes(&bytes) {
            prop_assert_eq!(&read.to_bytes(), original);
        }
        bytes[place] ^= flip;
        bytes.truncate(if in_header { cut.index(header) } else { cut.index(bytes.len()) });
        prop_assert!(Trained::from_bytes(&bytes).is_err());
    }
}

/// Mean absolute error of the medians over the last week, in units of each series.
fn error(trained: &Trained, series: &[Vec<f64>]) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for values in series {
        let (test, mean) = (values.len() - 24 * 7, values.iter().sum::<f64>() / values.len() as f64);
        let mut follower = trained.follow(&grid(), 24 * 28, test);
        values[..test].iter().for_each(|value| follower.observe(Some(*value)));
        for (nth, value) in values[test..values.len() - HORIZON].iter().enumerate() {
            let outlook = follower.forecast(HORIZON).unwrap();
            for ahead in 0..HORIZON {
                sum += (outlook.quantiles.median(ahead) - values[test + nth + ahead]).abs() / mean;
                count += 1.0;
            }
            follower.observe(Some(*value));
        }
    }
    sum / count
}

/// After five weeks, noise no longer lasts: what was learned from the first weeks trusts the last value too much.
#[test]
fn what_goes_on_keeps_up_with_a_drift_nearly_as_well_as_what_begins_anew() {
    let grid = grid();
    let memory = |k: usize| if k < 24 * 35 { 0.97 } else { -0.5 };
    let series: Vec<Vec<f64>> = (10..14).map(|seed| wave(seed, 77, &memory)).collect();
    let part = |from: usize, to: usize| -> Vec<Past<'_>> {
        series.iter().map(|values| Past::new(&grid, 24 * from, &values[24 * from..24 * to])).collect()
    };
    // The ensemble is made of trees alone here, for a test must end.
    let trained = |name: &str, set: Vec<Past<'_>>, seed: u64| {
        if name != ENSEMBLE {
            return train(name, &set, HORIZON, seed).unwrap().unwrap();
        }
        let shorter: Vec<Past<'_>> = set.iter().map(|past| past.before(24 * 7)).collect();
        let trees = |set: &[Past<'_>]| -> Vec<Arc<dyn model::member::Member>> {
            let base = |base| Arc::new(Boosted::train(base, set, HORIZON, seed).unwrap()) as _;
            vec![base(Base::Last), base(Base::Mean)]
        };
        let kind = Kind::Ensemble(Arc::new(Ensemble::of(HORIZON, trees(&set), trees(&shorter))));
        Trained { kind, origin: Origin::new(&set, HORIZON, seed) }
    };
    for name in ["boosted", "perceptron", ENSEMBLE] {
        let before = trained(name, part(0, 35), 1);
        let anew = trained(name, part(42, 70), 2);
        let on = before.go_on(&part(42, 70), 2).unwrap();
        assert_eq!(on.origin(), anew.origin());
        let [before_error, anew, on_error] = [&before, &anew, &on].map(|trained| error(trained, &series));
        assert!(on_error < 1.06 * anew, "{name}: {on_error}, anew {anew}, before {before_error}");
        assert!(anew < 0.95 * before_error, "{name} needed no training: {anew}, before {before_error}");
        // What has gone on is a model like any other.
        assert_eq!(Trained::from_bytes(&on.to_bytes()).unwrap().id(), on.id());
        assert!(matches!(on.go_on(&part(0, 35), 1), Err(Unfit::Mismatch { .. })), "back in time");
    }
    let hourly = &TRAINED[0];
    let quarter = Grid::utc(Timestamp::from_secs(1_867_225_600), Duration::from_mins(15));
    assert!(matches!(hourly.go_on(&[Past::new(&quarter, 0, &series[0])], 1), Err(Unfit::Mismatch { .. })));
}

#[test]
fn a_plus_makes_the_calibrated_one() {
    for name in names() {
        assert!(is_known(name) && is_known(&format!("{name}+")), "{name}");
    }
    let grid = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
    let values: Vec<f64> = (0..24 * 15).map(|hour| f64::from(hour % 24 + hour % 7)).collect();
    let set = [Past::new(&grid, 0, &values)];
    for unknown in ["tarot", "tarot+", "naive++", "+", ""] {
        assert!(!is_known(unknown) && train(unknown, &set, 4, 1).is_none(), "{unknown}");
    }
    for (name, raw) in [("naive+", "naive"), ("boosted+", "boosted")] {
        let (calibrated, raw) = (train(name, &set, 4, 1).unwrap().unwrap(), train(raw, &set, 4, 1).unwrap().unwrap());
        assert_eq!(calibrated.name(), raw.name());
        let mut pair = [calibrated, raw].map(|trained| trained.follow(&grid, values.len(), values.len()));
        for follower in &mut pair {
            values.iter().for_each(|value| follower.observe(Some(*value)));
        }
        // The one has learned from the last week of what it was trained on; the other is as it was trained.
        let [calibrated, raw] = pair.map(|mut follower| follower.forecast(4).unwrap());
        assert_eq!(calibrated.by, raw.by);
        assert_ne!(calibrated.quantiles, raw.quantiles, "{name}");
    }
}

/// A day's wave, at a third of its height on Sundays and on these days.
fn week(grid: &Grid, n: usize, quiet: &[usize], seed: u64) -> Vec<f64> {
    let mut chance = Chance::new(seed, "holidays");
    let mut level = 0.0;
    (0..n)
        .map(|at| {
            let moment = grid.moment(at);
            let sunday = moment.weekday == 6 || quiet.contains(&(at / grid.day()));
            let wave = 1.0 - 0.6 * (moment.day * std::f64::consts::TAU).cos();
            level = 0.98 * level + 0.02 * chance.normal();
            100.0 * wave * if sunday { 0.33 } else { 1.0 } * (level + 0.05 * chance.normal()).exp()
        })
        .collect()
}

#[test]
fn holidays_are_forecast_better_by_all_who_know_weekdays() {
    let plain = Grid::utc(Timestamp::EPOCH, Duration::from_hours(1));
    // Working days in 1970, which began on a Thursday; the last two are the test.
    let quiet = [5, 12, 20, 26, 34, 40, 47, 53, 60, 62];
    assert!(quiet.iter().all(|day| plain.moment(24 * day).weekday < 5));
    let knowing = plain.clone().with_holidays(quiet.map(|day| day as i32));
    let (train_days, all) = (56, 24 * 63);
    let series: Vec<Vec<f64>> = (0..3).map(|seed| week(&plain, all, &quiet, seed)).collect();
    let error = |name: &str, grid: &Grid| -> f64 {
        let trained_on: Vec<Past<'_>> =
            series.iter().map(|values| Past::new(grid, 0, &values[..24 * train_days])).collect();
        let trained = train(name, &trained_on, 4, 1).unwrap().unwrap();
        let mut sum = 0.0;
        for values in &series {
            let mut follower = trained.follow(grid, 24 * train_days, 24 * train_days);
            for at in 0..all - 4 {
                if quiet[8..].contains(&(at / 24)) {
                    let forecast = follower.forecast(4).unwrap().quantiles;
                    sum += (0..4).map(|ahead| (forecast.median(ahead) - values[at + ahead]).abs()).sum::<f64>();
                }
                follower.observe(Some(values[at]));
            }
        }
        sum
    };
    let models = ["structural", "boosted", "perceptron", ENSEMBLE];
    let ratios = models.map(|name| (name, error(name, &knowing) / error(name, &plain)));
    assert!(ratios.iter().all(|(_, ratio)| *ratio < 0.8), "{ratios:?}");
}
