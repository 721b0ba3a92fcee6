//! A record of named fields as a query: what Zeek, CSV and NDJSON have in common.
//!
//! The reader of a format says which field is where ([`Field`], [`Spelling::find`]) and hands over the texts; here
//! they get their meaning.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use forebay_world::Timestamp;

use crate::dns_message::NameBuffer;
use crate::error::shown;
use crate::line_clock::{LineClock, NoTime};
use crate::line_log::{Asked, NotAsked, read_address, read_subnet};
use crate::prefix::Prefix;
use crate::query::Vantage;
use crate::query_report::Skip;
use crate::read_options::{FieldNames, ReadOptions, TimeUnit};
use crate::record_type::{ALLOWED_TYPE, is_internet, number, record_type};

/// A field that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Time,
    Uid,
    Client,
    ClientPort,
    Server,
    ServerPort,
    Transaction,
    Name,
    Class,
    Type,
    Ecs,
    EcsLength,
}

/// Texts of the fields of one record, by [`Field`].
pub(crate) type Values<'a> = [Option<&'a [u8]>; 12];

/// How names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// RFC 1035.
    Presentation,
    /// Bytes that cannot be shown are `\xhh`.
    Zeek,
}

/// How a kind of log spells its fields.
pub(crate) struct Spelling {
    /// Names of fields, the preferred first.
    fields: Vec<(String, Field)>,
    names: Names,
    vantage: Vantage,
    /// Whether names of fields are compared without case.
    any_case: bool,
    unit: Option<TimeUnit>,
}

impl Spelling {
    /// Zeek's `dns.log`.
    pub(crate) fn zeek() -> Spelling {
        Spelling::fixed(ZEEK, Names::Zeek, Vantage::BeforeResolver)
    }

    /// Cloudflare's Logpush dataset `dns_logs`.
    pub(crate) fn cloudflare() -> Spelling {
        Spelling::fixed(CLOUDFLARE, Names::Presentation, Vantage::Authority)
    }

    /// AdGuard Home's `querylog.json`.
    pub(crate) fn adguard() -> Spelling {
        Spelling::fixed(ADGUARD, Names::Presentation, Vantage::BeforeResolver)
    }

    /// What the operator names, and the usual names for the rest.
    pub(crate) fn of(names: &FieldNames) -> Spelling {
        let given = [
            (&names.time, Field::Time),
            (&names.client, Field::Client),
            (&names.client_port, Field::ClientPort),
            (&names.name, Field::Name),
            (&names.qtype, Field::Type),
            (&names.ecs, Field::Ecs),
            (&names.id, Field::Transaction),
        ];
        let named = |field: Field| given.iter().any(|(name, given)| *given == field && name.is_some());
        let mut fields: Vec<_> =
            given.iter().filter_map(|(name, field)| Some((name.as_ref()?.clone(), *field))).collect();
        let taken: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
        fields.extend(
            USUAL
                .iter()
                .filter(|(name, field)| !named(*field) && !taken.iter().any(|taken| taken.eq_ignore_ascii_case(name)))
                .map(|&(name, field)| (name.to_owned(), field)),
        );
        Spelling {
            fields,
            names: Names::Presentation,
            vantage: Vantage::Authority,
            any_case: true,
            unit: names.time_unit,
        }
    }

    fn fixed(fields: &[(&str, Field)], names: Names, vantage: Vantage) -> Spelling {
        let fields = fields.iter().map(|&(name, field)| (name.to_owned(), field)).collect();
        Spelling { fields, names, vantage, any_case: false, unit: None }
    }

    /// The field of this name, and how much it is preferred to others that are the same field: less is more.
    pub(crate) fn find(&self, name: &[u8]) -> Option<(Field, usize)> {
        let position = self.fields.iter().position(|(known, _)| {
            known.len() == name.len()
                && (known.as_bytes() == name || (self.any_case && known.as_bytes().eq_ignore_ascii_case(name)))
        })?;
        Some((self.fields[position].1, position))
    }

    /// The preferred name of a field, for messages.
    pub(crate) fn name_of(&self, field: Field) -> &str {
        self.fields.iter().find(|(_, known)| *known == field).map_or("?", |(name, _)| name)
    }

    /// Fields without which a record is no query, by their preferred names, that `has` lacks.
    pub(crate) fn missing(&self, has: impl Fn(Field) -> bool) -> Vec<&str> {
        let generic = self.any_case;
        [Field::Time, Field::Client, Field::Name, Field::Type]
            .into_iter()
            // A table may lack the type (A is taken), and have the client's subnet alone.
            .filter(|&field| {
                !(has(field)
                    || (generic && field == Field::Type)
                    || (generic && field == Field::Client && has(Field::Ecs)))
            })
            .map(|field| self.name_of(field))
            .collect()
    }
}

/// Reads records of named fields.
pub(crate) struct Records {
    pub(crate) spelling: Spelling,
    clock: LineClock,
    assumed_type: bool,
}

impl Records {
    pub(crate) fn new(spelling: Spelling, options: &ReadOptions) -> Records {
        Records { spelling, clock: LineClock::new(options), assumed_type: false }
    }

    /// The query of a record; fields that are not set are `None`.
    pub(crate) fn read(&mut self, values: &Values<'_>, name: &mut NameBuffer) -> Result<Asked, NotAsked> {
        let field = |field: Field| values[field as usize];
        let Some(time) = field(Field::Time) else { return Err(NotAsked::Skip(Skip::NoTime)) };
        let at = self.read_time(time)?;
        let ecs = match field(Field::Ecs) {
            None | Some(b"") => None,
            Some(subnet) => self.read_ecs(subnet, field(Field::EcsLength))?,
        };
        let client = match field(Field::Client) {
            Some(client) => self.read_address(Field::Client, client)?,
            None => ecs.map(Prefix::address).ok_or(NotAsked::Skip(Skip::NoClient))?,
        };
        let server = field(Field::Server).map(|text| self.read_address(Field::Server, text)).transpose()?;
        let qtype = match field(Field::Type) {
            Some(text) => Some(record_type(text).ok_or_else(|| self.refuse(Field::Type, text, ALLOWED_TYPE))?),
            None => None,
        };
        let class = match field(Field::Class) {
            Some(text) => Some(is_internet(text).ok_or_else(|| self.refuse(Field::Class, text, "a class"))?),
            None => None,
        };
        let port = match field(Field::ServerPort) {
            Some(text) => Some(number(text).ok_or_else(|| self.refuse(Field::ServerPort, text, "a port"))?),
            None => None,
        };
        let asked = field(Field::Name);
        if let Some(asked) = asked {
            let written = match self.spelling.names {
                Names::Presentation => name.push_presentation(asked),
                Names::Zeek => push_zeek_name(asked, name),
            };
            written.ok_or_else(|| NotAsked::Malformed(format!("a name of {} bytes", asked.len())))?;
        }
        // Without a column of types, addresses are what is asked for.
        let assumed = self.spelling.any_case.then_some(1);
        self.assumed_type |= qtype.is_none() && assumed.is_some();
        let skip = if asked.is_none() || qtype.or(assumed).is_none() {
            Some(Skip::NoQuestion)
        } else if matches!(port, Some(137 | 5353 | 5355)) {
            Some(Skip::LocalService)
        } else if class == Some(false) {
            Some(Skip::OtherClass)
        } else {
            None
        };
        Ok(Asked {
            at,
            client,
            server,
            ecs,
            qtype: qtype.or(assumed).unwrap_or(0),
            vantage: self.spelling.vantage,
            transaction: transaction(field(Field::Uid), field(Field::ClientPort), field(Field::Transaction)),
            skip,
        })
    }

    pub(crate) fn assumptions(&self) -> Vec<String> {
        let mut said = self.clock.assumptions();
        if self.assumed_type {
            let name = self.spelling.name_of(Field::Type);
            said.push(format!("without a field \"{name}\" every query was taken to be for an address (A)"));
        }
        said
    }

    fn read_time(&mut self, text: &[u8]) -> Result<Timestamp, NotAsked> {
        if let Some(at) = read_number(text, self.spelling.unit) {
            return Ok(at);
        }
        match self.clock.read(text) {
            Ok((at, [])) => Ok(at),
            Err(NoTime::NoYear) => Err(NotAsked::no_year()),
            // A date alone, and other spellings that are rare.
            _ => match std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()) {
                Some(at) => Ok(at),
                None => Err(NotAsked::Malformed(format!(
                    "{} \"{}\" is no time",
                    self.spelling.name_of(Field::Time),
                    shown(text)
                ))),
            },
        }
    }

    fn read_ecs(&self, subnet: &[u8], length: Option<&[u8]>) -> Result<Option<Prefix>, NotAsked> {
        let refuse = || self.refuse(Field::Ecs, subnet, "a prefix such as 203.0.113.0/24");
        match length {
            Some(length) if !subnet.contains(&b'/') => {
                let address = read_address(subnet).ok_or_else(refuse)?;
                let bits = number(length).and_then(|bits| u8::try_from(bits).ok());
                let bits = bits.ok_or_else(|| self.refuse(Field::EcsLength, length, "a number of bits"))?;
                if bits == 0 {
                    return Ok(None);
                }
                Ok(Some(Prefix::new(address, bits).ok_or_else(refuse)?))
            }
            _ => read_subnet(subnet).ok_or_else(refuse),
        }
    }

    fn read_address(&self, field: Field, text: &[u8]) -> Result<IpAddr, NotAsked> {
        read_address(text).ok_or_else(|| {
            NotAsked::Malformed(format!("{} \"{}\" is no address", self.spelling.name_of(field), shown(text)))
        })
    }

    fn refuse(&self, field: Field, text: &[u8], allowed: &str) -> NotAsked {
        NotAsked::Malformed(format!("{} \"{}\" is not {allowed}", self.spelling.name_of(field), shown(text)))
    }
}

/// A number since 1970 with decimals, exact; the unit is told by size where it is not given.
pub(crate) fn read_number(text: &[u8], unit: Option<TimeUnit>) -> Option<Timestamp> {
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    if whole.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in whole {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    let unit = unit.unwrap_or(match value {
        0..100_000_000_000 => TimeUnit::Seconds,
        100_000_000_000..100_000_000_000_000 => TimeUnit::Milliseconds,
        100_000_000_000_000..100_000_000_000_000_000 => TimeUnit::Microseconds,
        _ => TimeUnit::Nanoseconds,
    });
    let mut room = 10u64.pow(9 - unit.decimals());
    let mut nanos = value.checked_mul(room)?;
    for &byte in fraction {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        room /= 10;
        nanos = nanos.checked_add(digit * room)?;
    }
    Some(Timestamp::from_nanos(nanos))
}

/// What tells transactions apart, when the client's port and the DNS id are known.
fn transaction(uid: Option<&[u8]>, port: Option<&[u8]>, id: Option<&[u8]>) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    (uid, port?, id?).hash(&mut hasher);
    Some(hasher.finish())
}

/// Writes a name as Zeek shows it (bytes that cannot be shown are `\xhh`) in presentation form.
fn push_zeek_name(text: &[u8], name: &mut NameBuffer) -> Option<()> {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'.', _) => name.push_dot()?,
            (b'\\', [b'x', high, low, beyond @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |d: &u8| (*d as char).to_digit(16).unwrap_or(0) as u8;
                name.push_label_byte(digit(high) << 4 | digit(low))?;
                rest = beyond;
            }
            (b'\\', [b'\\', beyond @ ..]) => {
                name.push_label_byte(b'\\')?;
                rest = beyond;
            }
            _ => name.push_label_byte(byte)?,
        }
    }
    name.drop_trailing_dot();
    Some(())
}

const ZEEK: &[(&str, Field)] = &[
    ("ts", Field::Time),
    ("uid", Field::Uid),
    ("id.orig_h", Field::Client),
    ("id.orig_p", Field::ClientPort),
    ("id.resp_h", Field::Server),
    ("id.resp_p", Field::ServerPort),
    ("trans_id", Field::Transaction),
    ("query", Field::Name),
    ("qclass", Field::Class),
    ("qtype", Field::Type),
];

const CLOUDFLARE: &[(&str, Field)] = &[
    ("Timestamp", Field::Time),
    ("SourceIP", Field::Client),
    ("QueryName", Field::Name),
    ("QueryType", Field::Type),
    ("EDNSSubnet", Field::Ecs),
    ("EDNSSubnetLength", Field::EcsLength),
];

const ADGUARD: &[(&str, Field)] = &[
    ("T", Field::Time),
    ("IP", Field::Client),
    ("QH", Field::Name),
    ("QT", Field::Type),
    ("QC", Field::Class),
    ("ECS", Field::Ecs),
];

/// Names that fields of tables usually have.
const USUAL: &[(&str, Field)] = &[
    ("time", Field::Time),
    ("timestamp", Field::Time),
    ("ts", Field::Time),
    ("datetime", Field::Time),
    ("query_time", Field::Time),
    ("client", Field::Client),
    ("client_ip", Field::Client),
    ("client_address", Field::Client),
    ("src", Field::Client),
    ("src_ip", Field::Client),
    ("source", Field::Client),
    ("source_ip", Field::Client),
    ("resolver", Field::Client),
    ("resolver_ip", Field::Client),
    ("ip", Field::Client),
    ("client_port", Field::ClientPort),
    ("src_port", Field::ClientPort),
    ("name", Field::Name),
    ("qname", Field::Name),
    ("query_name", Field::Name),
    ("query", Field::Name),
    ("domain", Field::Name),
    ("qtype", Field::Type),
    ("query_type", Field::Type),
    ("type", Field::Type),
    ("rrtype", Field::Type),
    ("qclass", Field::Class),
    ("ecs", Field::Ecs),
    ("client_subnet", Field::Ecs),
    ("edns_subnet", Field::Ecs),
    ("subnet", Field::Ecs),
    ("id", Field::Transaction),
    ("dns_id", Field::Transaction),
    ("trans_id", Field::Transaction),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_is_a_time_in_the_unit_of_its_size() {
        let check = |text: &str, want: u64| {
            assert_eq!(read_number(text.as_bytes(), None).map(Timestamp::as_nanos), Some(want), "{text}");
        };
        check("1521911720.865716", 1_521_911_720_865_716_000);
        check("1521911720", 1_521_911_720_000_000_000);
        check("1521911720865", 1_521_911_720_865_000_000);
        check("1521911720865.716", 1_521_911_720_865_716_000);
        check("1521911720865716", 1_521_911_720_865_716_000);
        check("1521911720865716123", 1_521_911_720_865_716_123);
        check("0.0000000019", 1);
        assert_eq!(read_number(b"1521911720865", Some(TimeUnit::Seconds)), None);
        assert_eq!(read_number(b"3", Some(TimeUnit::Microseconds)), Some(Timestamp::from_nanos(3000)));
        for text in ["", ".5", "-1", "1e9", "1.2.3", "99999999999999999999", "NaN"] {
            assert_eq!(read_number(text.as_bytes(), None), None, "{text}");
        }
    }

    #[test]
    fn a_given_name_takes_the_place_of_the_usual_ones() {
        let names = FieldNames { client: Some("Name".into()), name: Some("host".into()), ..FieldNames::default() };
        let spelling = Spelling::of(&names);
        for (name, want) in [
            ("NAME", Some(Field::Client)),
            ("host", Some(Field::Name)),
            ("qname", None),
            ("client", None),
            ("Timestamp", Some(Field::Time)),
        ] {
            assert_eq!(spelling.find(name.as_bytes()).map(|found| found.0), want, "{name}");
        }
        assert_eq!(spelling.missing(|field| field == Field::Time), ["Name", "host"]);
        assert!(
            Spelling::of(&FieldNames::default())
                .missing(|f| [Field::Time, Field::Ecs, Field::Name].contains(&f))
                .is_empty()
        );
    }

    proptest! {
        #[test]
        fn a_number_round_trips_in_every_unit(nanos in 200_000_000_000_000_000u64..) {
            for (text, unit) in [
                (format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000), TimeUnit::Seconds),
                (format!("{}.{:06}", nanos / 1_000_000, nanos % 1_000_000), TimeUnit::Milliseconds),
                (format!("{}.{:03}", nanos / 1000, nanos % 1000), TimeUnit::Microseconds),
                (nanos.to_string(), TimeUnit::Nanoseconds),
            ] {
                for unit in [Some(unit), None] {
                    prop_assert_eq!(read_number(text.as_bytes(), unit), Some(Timestamp::from_nanos(nanos)), "{}", text);
                }
            }
        }
    }
}
