use super::*;

fn sample(seconds: f64, cache: u64) -> QuerySample {
    let at = Timestamp::from_secs_f64(seconds).unwrap();
    QuerySample { at, cell: 0, resolver: cache, cache, name: 0, ttl: Duration::from_secs(20) }
}

fn exposure(meter: &mut Meter, seconds: u64) -> f64 {
    meter.close(Timestamp::from_secs(seconds))[0].exposure.unwrap().seconds
}

#[test]
fn exposure_is_the_time_without_an_answer() {
    let mut meter = Meter::new(2);
    meter.begin(Timestamp::from_secs(0));
    meter.record(sample(10.0, 1));
    meter.record(sample(37.0, 1));
    // One query of two counts, as the second answer is held at the end: 1 in 17 s.
    let count = meter.close(Timestamp::from_secs(47));
    assert_eq!(count[0].queries, 2);
    let first = count[0].exposure.unwrap();
    // What is longer ago counts less.
    assert!((first.seconds - 34.0).abs() < 0.05 && first.caches == 1, "{first:?}");
    assert_eq!(count[1], QueryCount::default());
    // Held until 57, then open until 100.
    assert!((exposure(&mut meter, 100) - 43.0).abs() < 1e-9);
    assert!((exposure(&mut meter, 150) - 50.0).abs() < 1e-9);
}

#[test]
fn nothing_is_known_before_the_first_query() {
    let mut meter = Meter::new(1);
    assert_eq!(meter.close(Timestamp::from_secs(60)), [QueryCount::default()]);
    meter.begin(Timestamp::from_secs(60));
    assert_eq!(meter.close(Timestamp::from_secs(120)), [QueryCount::default()]);
}

#[test]
fn counts_of_a_fluid_model_add_up() {
    let mut meter = Meter::new(1);
    for _ in 0..2 {
        let exposure = Some(Exposure { seconds: 2.5, relative_variance: 0.0, caches: 7 });
        meter.record_count(0, QueryCount { queries: 3, exposure });
    }
    let count = meter.close(Timestamp::from_secs(10))[0];
    assert_eq!(count.queries, 6);
    assert_eq!(count.exposure, Some(Exposure { seconds: 5.0, relative_variance: 0.0, caches: 7 }));
}

#[test]
fn a_copy_counts_as_the_original_does() {
    let mut original = Meter::new(1);
    for i in 0..500u32 {
        original.record(sample(f64::from(i) * 7.3, u64::from(i % 37)));
    }
    let mut copy = original.clone();
    for i in 500..900u32 {
        original.record(sample(f64::from(i) * 7.3, u64::from(i % 41)));
        copy.record(sample(f64::from(i) * 7.3, u64::from(i % 41)));
        if i % 10 == 0 {
            let at = Timestamp::from_secs_f64(f64::from(i) * 7.3).unwrap();
            assert_eq!(original.close(at), copy.close(at));
        }
    }
}

/// Numbers that look random, uniform on (0, 1].
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + f64::EPSILON / 4.0
}

/// Ten times more caches than are kept: their requests are counted all the same.
#[test]
fn caches_that_are_not_kept_are_still_summed_up() {
    let rate = |caches_max| {
        let mut meter = Meter::with_caches_max(1, caches_max);
        meter.begin(Timestamp::EPOCH);
        let (mut queries, mut seconds, mut state, mut at) = (0.0, 0.0, 7, 0.0);
        let mut until = vec![0.0; 1000];
        for minute in 1..600 {
            while at < f64::from(minute) * 60.0 {
                // Each of 1,000 caches every 500 s.
                at -= 0.5 * uniform(&mut state).ln();
                let cache = (1000.0 * uniform(&mut state)) as usize % 1000;
                if at >= until[cache] {
                    until[cache] = at + 20.0;
                    meter.record(sample(at, cache as u64));
                }
            }
            let count = meter.close(Timestamp::from_secs_f64(f64::from(minute) * 60.0).unwrap())[0];
            if minute > 200 {
                queries += count.queries as f64;
                seconds += count.exposure.unwrap().seconds;
            }
        }
        assert!(meter.caches.len() <= caches_max && meter.cache_index.len() == meter.caches.len());
        queries / seconds
    };
    // 48,000 requests: 2 % are four standard errors.
    let (all, few) = (rate(1 << 20), rate(100));
    assert!((all / 2.0 - 1.0).abs() < 0.02, "{all}");
    // Those not kept are taken for holding none, 4 % of the time wrongly.
    assert!((few / (2.0 / 1.04) - 1.0).abs() < 0.03, "{few}");
}

#[test]
fn what_is_asked_no_more_is_forgotten() {
    let mut meter = Meter::new(1);
    meter.record(sample(0.0, 1));
    for hour in 1..12 {
        meter.close(Timestamp::from_secs(hour * 3600));
    }
    assert!(meter.caches.is_empty() && meter.habits.is_empty() && meter.habit_index.is_empty());
}

#[test]
fn a_resolver_that_extends_is_found_and_one_stray_does_not_hide_it() {
    let mut habit = Habit::default();
    for gap in [285.0, 300.0, 281.0, 350.0, 290.0, 283.0] {
        habit.take(gap);
    }
    habit.judge();
    assert!(habit.extends() > 0.99 && habit.by() == 281.0, "{habit:?}");
    habit.take(17.0);
    habit.judge();
    assert!(habit.extends() > 0.9 && habit.by() == 281.0, "{habit:?}");
    let mut honours = Habit::default();
    for gap in [12.0, 130.0, 71.0, 40.0, 6.0, 88.0] {
        honours.take(gap);
    }
    honours.judge();
    assert!(honours.extends() < 0.05, "{honours:?}");
}
