//! Geolocation databases in MMDB format, of whichever schema.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

use forebay_world::{Duration, Timestamp};
use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::ReadError;
use crate::input::Input;

/// A database older than this is stale: networks move between countries all the time.
pub const STALE_AFTER: Duration = Duration::from_hours(180 * 24);

/// An opened database.
pub struct Database {
    reader: Reader<Vec<u8>>,
}

/// What a database knows of an address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    /// ISO 3166-1 code.
    pub country: Option<&'a str>,
    /// Two-letter code.
    pub continent: Option<&'a str>,
    /// Where, as far as known.
    pub location: Option<Location>,
}

/// A place on Earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Location {
    /// Latitude [degrees north].
    pub lat: f64,
    /// Longitude [degrees east].
    pub lon: f64,
}

impl Database {
    /// Reads a database into memory; it may be gzip.
    ///
    /// # Errors
    /// [`ReadError::Database`] for a file that is none, and for one that is cut short or damaged in any place that can be
    /// told; or why the file cannot be read.
    pub fn open(path: &Path) -> Result<Database, ReadError> {
        Database::from_content(path, Input::open(path)?.read_all()?)
    }

    /// A database whose file was read.
    pub(super) fn from_content(path: &Path, content: Vec<u8>) -> Result<Database, ReadError> {
        let unusable = |source| ReadError::Database { path: path.to_owned(), source };
        let reader = Reader::from_source(content).map_err(unusable)?;
        let database = Database { reader };
        database.walk().map_err(unusable)?;
        Ok(database)
    }

    /// Walks the whole search tree and each record once: a database that is damaged is refused as it is opened, not when
    /// an address is asked for. (The library's own check refuses those without a description, too.)
    fn walk(&self) -> Result<(), MaxMindDbError> {
        // A tree has one leaf more than it has nodes, unless it runs in circles.
        let most = u64::from(self.reader.metadata().node_count) + 1;
        let mut decoded = HashSet::new();
        let networks = self.reader.networks(WithinOptions::default().include_networks_without_data())?;
        for (leaf, found) in (1..).zip(networks) {
            let found = found?;
            if leaf > most {
                return Err(MaxMindDbError::invalid_database("the search tree runs in circles"));
            }
            if let Some(offset) = found.offset()
                && decoded.insert(offset)
            {
                found.decode::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    /// What it calls itself: `GeoLite2-City`.
    pub fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When it was built.
    pub fn built(&self) -> Timestamp {
        let nanos = self.reader.metadata().build_epoch.checked_mul(1_000_000_000);
        nanos.map_or(Timestamp::EPOCH, Timestamp::from_nanos)
    }

    /// How old it is at `now`, when that is [too old](STALE_AFTER).
    pub fn staleness(&self, now: Timestamp) -> Option<Duration> {
        let age = now.since(self.built());
        (age > STALE_AFTER).then_some(age)
    }

    /// Whether it says the same of all addresses that have these leading bits in common with this one.
    pub(super) fn is_uniform(&self, address: IpAddr, bits: u8) -> bool {
        self.reader.lookup(address).and_then(|found| found.network()).is_ok_and(|network| network.prefix() <= bits)
    }

    /// What it knows of an address; `None` for nothing, and for a record that cannot be decoded.
    pub fn find(&self, address: IpAddr) -> Option<Record<'_>> {
        let found = self.reader.lookup(address).ok()?;
        if !found.has_data() {
            return None;
        }
        let nested = |outer, inner| text(&found, &[PathElement::Key(outer), PathElement::Key(inner)]);
        let flat = |key| text(&found, &[PathElement::Key(key)]);
        let country = nested("country", "iso_code").or_else(|| flat("country_code")).or_else(|| flat("country"));
        let continent = nested("continent", "code").or_else(|| flat("continent_code")).or_else(|| flat("continent"));
        Some(Record { country, continent, location: location(&found) })
    }
}

fn text<'a>(found: &LookupResult<'a, Vec<u8>>, path: &[PathElement<'_>]) -> Option<&'a str> {
    value::<&str>(found, path).filter(|text| !text.is_empty())
}

fn location(found: &LookupResult<'_, Vec<u8>>) -> Option<Location> {
    // Flat databases store single precision, and the decoder does not widen.
    let either = |path: &[PathElement<'_>]| value(found, path).or_else(|| value::<f32>(found, path).map(f64::from));
    let number = |key| {
        either(&[PathElement::Key("location"), PathElement::Key(key)]).or_else(|| either(&[PathElement::Key(key)]))
    };
    let (lat, lon) = (number("latitude")?, number("longitude")?);
    (lat.abs() <= 90.0 && lon.abs() <= 360.0).then_some(Location { lat, lon })
}

/// A value of another type than wanted is another schema's: as good as none.
fn value<'a, T: Deserialize<'a>>(found: &LookupResult<'a, Vec<u8>>, path: &[PathElement<'_>]) -> Option<T> {
    found.decode_path(path).ok().flatten()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A value of the MMDB data section (MaxMind DB file format specification 2.0).
    pub(in crate::geography) enum Data {
        Text(&'static str),
        Double(f64),
        Float(f32),
        /// Unsigned, in so many bytes: 2, 4 or 8.
        Number(usize, u64),
        Map(Vec<(&'static str, Data)>),
        List(Vec<Data>),
    }

    impl Data {
        fn write(&self, out: &mut Vec<u8>) {
            let mut control = |kind: u8, size: usize| {
                assert!(size < 285);
                let small = size.min(29) as u8;
                if kind <= 7 {
                    out.push(kind << 5 | small);
                } else {
                    out.extend([small, kind - 7]);
                }
                if size >= 29 {
                    out.push((size - 29) as u8);
                }
            };
            match self {
                Data::Text(text) => {
                    control(2, text.len());
                    out.extend(text.as_bytes());
                }
                Data::Double(number) => {
                    control(3, 8);
                    out.extend(number.to_be_bytes());
                }
                Data::Float(number) => {
                    control(15, 4);
                    out.extend(number.to_be_bytes());
                }
                Data::Number(bytes, number) => {
                    control([5, 6, 9][bytes.ilog2() as usize - 1], *bytes);
                    out.extend(&number.to_be_bytes()[8 - bytes..]);
                }
                Data::Map(entries) => {
                    control(7, entries.len());
                    for (key, value) in entries {
                        Data::Text(key).write(out);
                        value.write(out);
                    }
                }
                Data::List(entries) => {
                    control(11, entries.len());
                    entries.iter().for_each(|entry| entry.write(out));
                }
            }
        }
    }

    /// An IPv4 database with one record for each first octet that is given.
    pub(in crate::geography) fn mmdb(built: u64, records: &[(u8, Data)]) -> Vec<u8> {
        let mut data = Vec::new();
        // A binary tree of depth 8: nodes of two 32-bit records, the root first; 0xffff_ffff marks what is not set.
        let mut nodes: Vec<[u32; 2]> = vec![[u32::MAX; 2]];
        let mut leaves = Vec::new();
        for (octet, record) in records {
            let offset = data.len() as u32;
            record.write(&mut data);
            let mut node = 0;
            for bit in (1..8).rev() {
                let side = usize::from(octet >> bit & 1);
                if nodes[node][side] == u32::MAX {
                    nodes.push([u32::MAX; 2]);
                    nodes[node][side] = nodes.len() as u32 - 1;
                }
                node = nodes[node][side] as usize;
            }
            leaves.push((node, usize::from(octet & 1), offset));
        }
        let count = nodes.len() as u32;
        for (node, side, offset) in leaves {
            nodes[node][side] = count + 16 + offset;
        }
        let mut bytes = Vec::new();
        for side in nodes.iter().flatten() {
            bytes.extend(if *side == u32::MAX { count } else { *side }.to_be_bytes());
        }
        bytes.extend([0; 16]);
        bytes.extend(&data);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        Data::Map(vec![
            ("binary_format_major_version", Data::Number(2, 2)),
            ("binary_format_minor_version", Data::Number(2, 0)),
            ("build_epoch", Data::Number(8, built)),
            ("database_type", Data::Text("Test")),
            ("description", Data::Map(vec![("en", Data::Text("a test"))])),
            ("ip_version", Data::Number(2, 4)),
            ("languages", Data::List(vec![])),
            ("node_count", Data::Number(4, u64::from(count))),
            ("record_size", Data::Number(2, 32)),
        ])
        .write(&mut bytes);
        bytes
    }

    pub(in crate::geography) fn records() -> Vec<(u8, Data)> {
        let text = Data::Text;
        vec![
            (1, Data::Map(vec![("country_code", text("DE"))])),
            (
                2,
                Data::Map(vec![
                    ("continent", Data::Map(vec![("code", text("AS"))])),
                    ("country", Data::Map(vec![("iso_code", text("JP"))])),
                    ("location", Data::Map(vec![("latitude", Data::Double(35.7)), ("longitude", Data::Double(139.7))])),
                ]),
            ),
            (
                3,
                Data::Map(vec![
                    ("country_code", text("US")),
                    ("latitude", Data::Float(40.5)),
                    ("longitude", Data::Float(-74.0)),
                ]),
            ),
            (4, Data::Map(vec![("country", text("FR")), ("continent", text("EU"))])),
            (5, Data::Map(vec![("asn", Data::Number(4, 64_496))])),
            (
                6,
                Data::Map(vec![
                    ("latitude", Data::Double(f64::NAN)),
                    ("longitude", Data::Double(0.0)),
                    ("country", text("")),
                ]),
            ),
        ]
    }

    fn opened(bytes: &[u8]) -> Result<Database, ReadError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.mmdb");
        std::fs::write(&path, bytes).unwrap();
        Database::open(&path)
    }

    #[test]
    fn both_schemas_are_read() {
        let database = opened(&mmdb(1_700_000_000, &records())).unwrap();
        let check = |address: &str, want: Option<Record<'_>>| {
            assert_eq!(database.find(address.parse().unwrap()), want, "{address}");
        };
        let known = |country, continent, place: Option<(f64, f64)>| {
            Some(Record { country, continent, location: place.map(|(lat, lon)| Location { lat, lon }) })
        };
        check("1.2.3.4", known(Some("DE"), None, None));
        check("2.2.3.4", known(Some("JP"), Some("AS"), Some((35.7, 139.7))));
        check("3.2.3.4", known(Some("US"), None, Some((40.5, -74.0))));
        check("4.2.3.4", known(Some("FR"), Some("EU"), None));
        check("5.2.3.4", known(None, None, None));
        check("6.2.3.4", known(None, None, None));
        check("7.2.3.4", None);
        check("2001:db8::1", None);
        assert_eq!(database.kind(), "Test");
    }

    #[test]
    fn a_database_goes_stale_after_half_a_year() {
        let database = opened(&mmdb(1_700_000_000, &records())).unwrap();
        let built = Timestamp::from_secs(1_700_000_000);
        assert_eq!(database.built(), built);
        assert_eq!(database.staleness(Timestamp::EPOCH), None);
        assert_eq!(database.staleness(built + STALE_AFTER), None);
        let later = built + Duration::from_hours(181 * 24);
        assert_eq!(database.staleness(later), Some(Duration::from_hours(181 * 24)));
    }

    #[test]
    fn another_file_is_no_database() {
        let error = opened(b"prefix,region\n").err().unwrap();
        assert!(error.to_string().contains("not a usable MMDB database"), "{error}");
        assert!(opened(&crate::input::tests::gzip(&mmdb(1, &records()))).is_ok());
    }

    #[test]
    fn what_is_cut_short_or_damaged_is_refused_as_it_is_opened() {
        let whole = mmdb(1_700_000_000, &records());
        for cut in [0, 1, 100, whole.len() / 2, whole.len() - 30, whole.len() - 1] {
            let error = opened(&whole[..cut]).err().unwrap();
            assert!(
                error.to_string().contains("not a usable MMDB database") && !error.hint().is_empty(),
                "{cut}: {error}"
            );
        }
        let mark = whole.windows(14).rposition(|bytes| bytes == b"\xab\xcd\xefMaxMind.com").unwrap();
        // The root's sides: beyond the file, into the gap between tree and data, and back to the root.
        for side in [u32::MAX - 1, whole.len() as u32, 0] {
            let mut bytes = whole.clone();
            bytes[..4].copy_from_slice(&side.to_be_bytes());
            assert!(opened(&bytes).is_err(), "{side}");
        }
        // A record that is longer than the data.
        let mut bytes = whole.clone();
        bytes[mark - 3] = 0xff;
        assert!(bytes != whole);
        let _ = opened(&bytes);
    }

    /// MaxMind's own test database, cut and with single bits flipped: an error that names the file, or a database that
    /// answers. It is where `FOREBAY_DATA` says.
    #[test]
    fn no_cut_and_no_flipped_bit_of_a_real_database_panics() {
        let folder = std::env::var_os("FOREBAY_DATA")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), std::path::PathBuf::from);
        let file = folder.join("GeoLite2-City-Test.mmdb");
        let Ok(whole) = std::fs::read(&file) else {
            eprintln!("{} is not there: not damaged", file.display());
            return;
        };
        let try_one = |bytes: Vec<u8>| match Database::from_content(Path::new("city.mmdb"), bytes) {
            Ok(database) => {
                for address in ["81.2.69.160", "2.125.160.216", "89.160.20.112", "2001:218::1", "::", "255.255.255.255"]
                {
                    let _ = database.find(address.parse().unwrap());
                    let _ = database.is_uniform(address.parse().unwrap(), 24);
                }
                let _ = (database.built(), database.kind());
                true
            }
            Err(error) => {
                assert!(error.to_string().starts_with("city.mmdb: not a usable MMDB database: "), "{error}");
                assert!(!error.hint().is_empty() && !error.allowed().is_empty());
                false
            }
        };
        assert!(try_one(whole.clone()));
        // Metadata stand at the end: nothing that is cut short is usable.
        for cut in (0..whole.len()).step_by(97) {
            assert!(!try_one(whole[..cut].to_vec()), "cut at {cut}");
        }
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(256));
        let flips = proptest::collection::vec((any::<proptest::sample::Index>(), 0u32..8), 1..4);
        runner
            .run(&flips, |flips| {
                let mut bytes = whole.clone();
                for (index, bit) in flips {
                    let at = index.index(bytes.len());
                    bytes[at] ^= 1 << bit;
                }
                try_one(bytes);
                Ok(())
            })
            .unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_damage_to_a_database_panics(damage in proptest::collection::vec((0usize..2000, any::<u8>()), 1..6), cut in 0usize..100) {
            let mut bytes = mmdb(1_700_000_000, &records());
            for (at, byte) in damage {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len() - cut);
            if let Ok(database) = opened(&bytes) {
                for octet in 0..=255u8 {
                    let _ = database.find(IpAddr::from([octet, 1, 2, 3]));
                }
                let _ = (database.built(), database.kind(), database.find("2001:db8::1".parse().unwrap()));
            }
        }
    }
}
