use std::io::Cursor;

use forebay_world::LinkId;
use proptest::prelude::*;

use super::database::tests::{mmdb, records};
use super::*;

fn regions() -> Vec<Region> {
    [("ams", 52.4, 4.9), ("nyc", 40.7, -74.0), ("nrt", 35.8, 140.4)]
        .map(|(name, lat, lon)| Region { name: name.into(), lat, lon, time_zone: "UTC".into(), access: LinkId(0) })
        .to_vec()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn table(text: &str) -> Result<Geography, ReadError> {
    let input = Input::from_reader("nets.csv", Cursor::new(text.as_bytes().to_vec()))?;
    Geography::new(&regions()).with_prefix_table_from(input)
}

fn with_database() -> Geography {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.mmdb");
    std::fs::write(&path, mmdb(1_700_000_000, &records())).unwrap();
    Geography::new(&regions()).with_database(&path).unwrap()
}

#[test]
fn without_tables_nothing_is_located() {
    assert_eq!(Geography::new(&regions()).region_of(ip("192.0.2.1")), None);
}

#[test]
fn a_prefix_table_is_read() {
    let geography =
        table("region,prefix,note\n# ours\nams,10.0.0.0/8,\nnyc,10.1.0.0/16,lab\n\"nrt\", 2001:db8::/32 ,\n").unwrap();
    let check = |address: &str, want: Option<u16>| assert_eq!(geography.region_of(ip(address)), want.map(RegionId));
    check("10.0.0.1", Some(0));
    check("10.1.2.3", Some(1));
    check("::ffff:10.1.2.3", Some(1));
    check("2001:db8::7", Some(2));
    check("192.0.2.1", None);
}

#[test]
fn a_wrong_prefix_table_is_an_error_with_its_line() {
    let check = |text: &str, want: &str| {
        let error = table(text).err().unwrap();
        assert!(error.to_string().starts_with(want), "{error}");
        error.hint().to_owned()
    };
    check("", "nets.csv: an empty file");
    check("network,region\n", "nets.csv:1: no column \"prefix\"");
    check("prefix,region\n10.0.0.0/8\n", "nets.csv:2: 1 fields; allowed: 2 fields");
    check("prefix,region\n10.0.0/8,ams\n", "nets.csv:2: prefix \"10.0.0/8\" is none");
    assert_eq!(check("prefix,region\n10.0.0.9/8,ams\n", "nets.csv:2: prefix"), "was 10.0.0.0/8 meant?");
    check("prefix,region\n\n10.0.0.0/8,lhr\n", "nets.csv:3: region \"lhr\" is unknown; allowed: one of ams, nyc, nrt");
    check("prefix,region\n10.0.0.0/8,ams\n10.0.0.0/8,nyc\n", "nets.csv:3: prefix 10.0.0.0/8 has another region above");
    check("prefix,region\n\"10.0.0.0/8,ams\n", "nets.csv:2: a quote");
}

#[test]
fn tables_win_over_the_nearest_region() {
    let located = |geography: &Geography, address: &str| geography.locate(ip(address), None);
    let nearest = with_database();
    assert_eq!(located(&nearest, "2.0.0.1"), Some((RegionId(2), LocatedBy::Nearest)));
    assert_eq!(located(&nearest, "3.0.0.1"), Some((RegionId(1), LocatedBy::Nearest)));
    assert_eq!(located(&nearest, "1.0.0.1"), None);
    assert_eq!(located(&nearest, "9.0.0.1"), None);
    let tables = with_database()
        .with_country("de", RegionId(0))
        .with_continent("as", RegionId(1))
        .with_continent("EU", RegionId(2))
        .with_prefixes([("2.2.2.0/24".parse().unwrap(), RegionId(0))]);
    assert_eq!(located(&tables, "1.0.0.1"), Some((RegionId(0), LocatedBy::Country)));
    assert_eq!(located(&tables, "2.0.0.1"), Some((RegionId(1), LocatedBy::Continent)));
    assert_eq!(located(&tables, "4.0.0.1"), Some((RegionId(2), LocatedBy::Continent)));
    assert_eq!(located(&tables, "2.2.2.2"), Some((RegionId(0), LocatedBy::Prefix)));
    assert_eq!(tables.database().unwrap().kind(), "Test");
}

#[test]
fn a_client_subnet_wins_over_the_resolver() {
    let geography = with_database().with_fallback(Fallback::Region(RegionId(0)));
    let locate = |ecs: &str| geography.locate(ip("3.0.0.1"), Some(ecs.parse().unwrap()));
    assert_eq!(locate("2.0.0.0/24"), Some((RegionId(2), LocatedBy::Nearest)));
    // A network that nobody knows: the resolver is a better guess than the fallback.
    assert_eq!(locate("10.0.0.0/24"), Some((RegionId(1), LocatedBy::Nearest)));
    assert_eq!(geography.locate(ip("10.0.0.1"), None), Some((RegionId(0), LocatedBy::Fallback)));
}

#[test]
fn spread_addresses_are_even_over_the_regions() {
    let geography = Geography::new(&regions()).with_fallback(Fallback::Spread);
    let mut counts = [0u32; 3];
    let networks = 3000;
    for network in 0..networks {
        let address = |host: u8| IpAddr::from([10, (network / 256) as u8, (network % 256) as u8, host]);
        let region = geography.region_of(address(1)).unwrap();
        assert_eq!(geography.region_of(address(200)), Some(region), "a network stays together");
        counts[region.index()] += 1;
    }
    // Multinomial with p = 1/3: five standard deviations.
    let sigma = (f64::from(networks) * (1.0 / 3.0) * (2.0 / 3.0)).sqrt();
    for count in counts {
        assert!((f64::from(count) - f64::from(networks) / 3.0).abs() < 5.0 * sigma, "{counts:?}");
    }
    assert_eq!(Geography::new(&[]).with_fallback(Fallback::Spread).region_of(ip("10.0.0.1")), None);
}

proptest! {
    #[test]
    fn no_table_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120), headed: bool) {
        let bytes = if headed { [b"prefix,region\n", &bytes[..]].concat() } else { bytes };
        if let Ok(input) = Input::from_reader("x", Cursor::new(bytes)) {
            let _ = Geography::new(&regions()).with_prefix_table_from(input);
        }
    }

    #[test]
    fn no_damage_to_a_table_panics(damage in proptest::collection::vec((0usize..90, any::<u8>()), 1..6)) {
        let mut bytes = b"prefix,region\n10.0.0.0/8,ams\n10.1.0.0/16,nyc\n2001:db8::/32,nrt\n0.0.0.0/0,ams\n::/0,nyc\n".to_vec();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(input) = Input::from_reader("x", Cursor::new(bytes))
            && let Ok(geography) = Geography::new(&regions()).with_prefix_table_from(input) {
                let _ = geography.region_of(ip("10.1.2.3"));
            }
    }
}
