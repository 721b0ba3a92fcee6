//! Recordings of the real world, when they are there: the folder named by `FOREBAY_DATA`, else `../shared/data`
//! beside the repository. Without it these tests say so and pass.

use std::path::{Path, PathBuf};

use forebay_adapters::geography::{LocatedBy, Record};
use forebay_adapters::query_report::Skip;
use forebay_adapters::{
    Fallback, Geography, Input, Place, ReadOptions, Vantage, read_counts, read_queries, read_recording,
};
use forebay_world::{Duration, LinkId, Region, RegionId, Timestamp};

/// The path of a recording, or `None` when there is none.
fn data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FOREBAY_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("NOT TESTED: {} is not there (set FOREBAY_DATA to the folder of recordings)", path.display());
    None
}

fn regions() -> Vec<Region> {
    [("ams", 52.4, 4.9), ("nyc", 40.7, -74.0), ("nrt", 35.8, 140.4)]
        .map(|(name, lat, lon)| Region { name: name.into(), lat, lon, time_zone: "UTC".into(), access: LinkId(0) })
        .to_vec()
}

#[test]
fn the_world_cup_has_ten_minutes_missing() {
    let Some(path) = data("worldcup98_1min.csv") else { return };
    let counts = read_counts(&path).unwrap();
    assert_eq!(counts.step, Duration::from_mins(1));
    assert_eq!(counts.start.to_string(), "1998-04-30T21:30:00Z");
    assert_eq!(counts.report.last.to_string(), "1998-07-05T23:59:00Z");
    let report = &counts.report;
    assert_eq!((report.rows, report.gaps, report.duplicates, report.off_grid), (95_180, 10, 0, 0));
    assert_eq!(counts.series[0].values.len(), 95_190);
    assert_eq!(counts.series[0].values[..3], [Some(2.0), Some(11.0), Some(16.0)]);
}

#[test]
fn every_series_of_counts_keeps_its_step_and_phase() {
    let check = |name: &str, minutes: u64, names: &[&str], rows: u64, gaps: u64, start: &str| {
        let Some(path) = data(name) else { return };
        let counts = read_counts(&path).unwrap();
        assert_eq!(counts.step, Duration::from_mins(minutes), "{name}");
        assert_eq!(counts.start.to_string(), start, "{name}");
        let found: Vec<_> = counts.series.iter().filter_map(|s| s.region.as_deref()).collect();
        assert_eq!(found, names, "{name}");
        let report = &counts.report;
        assert_eq!((report.rows, report.gaps), (rows, gaps), "{name}");
        assert_eq!((report.duplicates, report.out_of_order, report.off_grid), (0, 0, 0), "{name}");
    };
    let tickers = ["AAPL", "AMZN", "FB", "GOOG"];
    check("nab_twitter_volume_5min.csv", 5, &tickers, 63_408, 0, "2015-02-26T21:42:53Z");
    check("nab_nyc_taxi_30min.csv", 30, &[], 10_320, 0, "2014-07-01T00:00:00Z");
    check("nab_asg_cpu_5min.csv", 5, &[], 18_050, 0, "2014-05-14T01:14:00Z");
    check("nab_elb_request_count_5min.csv", 5, &[], 4032, 8, "2014-04-10T00:04:00Z");
    check("nab_ec2_network_in_5min.csv", 5, &[], 4032, 2, "2014-04-10T00:04:00Z");
    check("isp_eu_5min.csv", 5, &[], 14_772, 0, "2005-06-07T07:00:00Z");
}

#[test]
fn a_table_without_times_is_refused() {
    let Some(path) = data("sandvine_class_profile_24h.csv") else { return };
    let error = read_counts(&path).unwrap_err();
    assert_eq!(error.place(), Place::Line(1));
    assert!(error.to_string().contains("no column \"timestamp\""), "{error}");
}

#[test]
fn half_of_a_mirrored_zeek_log_is_double_capture() {
    let Some(path) = data("wrccdc2018_zeek_dns.log.gz") else { return };
    let mut latest = Timestamp::EPOCH;
    let mut most_asked = 0;
    let report = read_queries(&path, &ReadOptions::default(), &mut |query| {
        assert!(query.at >= latest);
        latest = query.at;
        assert!(!query.name.ends_with('.') && !query.name.bytes().any(|b| b.is_ascii_uppercase()));
        most_asked += u64::from(query.name == "ise.wrccdc.org");
    })
    .unwrap();
    assert_eq!((report.records, report.duplicates), (53_615, 26_827));
    assert_eq!((report.malformed.count, report.truncated), (0, None));
    let skipped: Vec<_> = report.skipped.iter().collect();
    assert_eq!(skipped, [(Skip::NoQuestion, 5), (Skip::OtherClass, 5), (Skip::LocalService, 1917)]);
    assert_eq!(report.queries, 53_615 - 26_827 - 5 - 5 - 1917);
    assert!(report.clients <= 77, "{}", report.clients);
    assert_eq!(report.first.unwrap().as_nanos(), 1_521_911_720_865_716_000);
    assert_eq!(report.vantage(), Some(Vantage::BeforeResolver));
    assert!(most_asked * 4 > report.queries, "{most_asked}");
    println!("{report:#?}\n{}", report.remarks().join("\n"));
}

#[test]
fn a_knot_capture_has_its_queries_and_their_subnets() {
    let Some(path) = data("sample_knot.dnstap") else { return };
    let (mut v4, mut v6, mut names) = (0, 0, std::collections::BTreeSet::new());
    let report = read_queries(&path, &ReadOptions::default(), &mut |query| {
        match query.ecs {
            Some(ecs) if ecs.address().is_ipv4() => v4 += u32::from(ecs.length() == 24),
            Some(ecs) => v6 += u32::from(ecs.length() == 56),
            None => {}
        }
        names.insert(query.name.to_owned());
        assert_eq!(query.vantage, Vantage::Authority);
    })
    .unwrap();
    assert_eq!((report.records, report.queries), (324, 162));
    assert_eq!((v4, v6, report.with_ecs), (120, 30, 150));
    assert_eq!((report.skipped.get(Skip::Response), report.skipped.total()), (162, 162));
    assert_eq!((report.truncated, report.malformed.count, report.clients), (None, 0, 1));
    assert!(names.contains("v1.edge.cdn.test"), "{names:?}");
}

#[test]
fn queries_that_bind_logs_without_response_are_counted() {
    let Some(path) = data("sample_bind_rd_quirk.dnstap") else { return };
    let report = read_queries(&path, &ReadOptions::default(), &mut |_| ()).unwrap();
    assert_eq!((report.queries, report.skipped.get(Skip::Response)), (6, 3));
}

#[test]
fn test_databases_locate_their_prefixes() {
    let open = |name| Some(Geography::new(&regions()).with_database(&data(name)?).unwrap());
    let of = |geography: &Geography, address: &str| geography.locate(address.parse().unwrap(), None);
    if let Some(city) = open("GeoLite2-City-Test.mmdb") {
        // London; Linköping; Bhutan.
        for (address, region) in [("81.2.69.142", 0), ("89.160.20.112", 0), ("67.43.156.1", 2)] {
            assert_eq!(of(&city, address), Some((RegionId(region), LocatedBy::Nearest)), "{address}");
        }
        assert_eq!(of(&city, "10.0.0.1"), None);
        assert_eq!(city.database().unwrap().kind(), "GeoLite2-City");
        assert!(city.database().unwrap().built() > "2020-01-01".parse().unwrap());
    }
    if let Some(country) = open("GeoLite2-Country-Test.mmdb") {
        assert_eq!(of(&country, "2.125.160.216"), None, "no table, no location");
        let country = country.with_country("GB", RegionId(1)).with_continent("EU", RegionId(0));
        assert_eq!(of(&country, "2.125.160.216"), Some((RegionId(1), LocatedBy::Country)));
        assert_eq!(of(&country, "89.160.20.112"), Some((RegionId(0), LocatedBy::Continent)));
    }
    if let Some(networks) = open("GeoLite2-ASN-Test.mmdb") {
        let database = networks.database().unwrap();
        let nothing = Record { country: None, continent: None, location: None };
        assert_eq!(database.find("1.128.0.1".parse().unwrap()), Some(nothing));
        assert_eq!(of(&networks, "1.128.0.1"), None);
    }
}

#[test]
fn logs_become_recordings() {
    let geography = Geography::new(&regions()).with_fallback(Fallback::Spread);
    for (name, queries) in [("wrccdc2018_zeek_dns.log.gz", 24_861), ("sample_knot.dnstap", 162)] {
        let Some(path) = data(name) else { continue };
        let recording = read_recording(&path, &geography).unwrap();
        assert_eq!(recording.queries.len(), queries, "{name}");
        assert!(recording.queries.is_sorted_by_key(|query| query.at));
        for query in &recording.queries {
            assert!(query.region.index() < 3 && query.cache < recording.caches);
            assert!((query.name as usize) < recording.names.len());
        }
        println!(
            "{name}: {} names, {} caches\n{}",
            recording.names.len(),
            recording.caches,
            recording.report.remarks().join("\n")
        );
    }
}

#[test]
fn packet_captures_of_hard_cases_are_read_or_refused_by_name() {
    let Some(folder) = data("pcap") else { return };
    let mut queries = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(read_counts(&path).is_err());
        match read_queries(&path, &ReadOptions::default(), &mut |_| ()) {
            Ok(report) => {
                assert_eq!(report.records, report.queries + report.skipped.total(), "{name}");
                println!("{name}\n{report}");
                queries.insert(name, report.queries);
            }
            Err(error) => {
                assert!(name.ends_with(".xz"), "{error}");
                assert!(!error.hint().is_empty(), "{error}");
            }
        }
    }
    println!("{queries:#?}");
}

#[test]
fn no_damage_to_a_real_file_panics() {
    for name in ["sample_knot.dnstap", "GeoLite2-Country-Test.mmdb"] {
        let Some(path) = data(name) else { continue };
        let whole = std::fs::read(path).unwrap();
        // A multiplicative walk over the file: every byte region is hit, the same way each time.
        for round in 0..200usize {
            let mut bytes = whole.clone();
            for step in 1..=4 {
                let at = (round * 7919 + step * 104_729) % bytes.len();
                bytes[at] = bytes[at].wrapping_add((round * step) as u8 | 1);
            }
            bytes.truncate(whole.len() - round % 50);
            if name.ends_with("dnstap") {
                let input = Input::from_reader("damaged", std::io::Cursor::new(bytes)).unwrap();
                let _ = forebay_adapters::query::read_queries_from(input, &ReadOptions::default(), &mut |_| ());
            } else {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("damaged.mmdb");
                std::fs::write(&path, bytes).unwrap();
                if let Ok(geography) = Geography::new(&regions()).with_database(&path) {
                    for octet in 0..=255 {
                        let _ = geography.region_of(std::net::IpAddr::from([octet, 125, 160, 216]));
                    }
                }
            }
        }
    }
}
