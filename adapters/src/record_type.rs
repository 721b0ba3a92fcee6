//! Types and classes of records by name: `AAAA` is 28, `TYPE65` is 65.
//!
//! Only what a question can ask for, from IANA's registry "DNS Parameters"; a type without a name here is written
//! `TYPEnnn` (RFC 3597) by every server.

/// What is read as a type, for error messages.
pub(crate) const ALLOWED_TYPE: &str = "a type of record such as AAAA, TYPE65 or a number up to 65535";

/// The number of a type of record, given by name (in any case), as `TYPEnnn` or as a number.
pub(crate) fn record_type(text: &[u8]) -> Option<u16> {
    let known = match text {
        b"A" => 1,
        b"AAAA" => 28,
        b"HTTPS" => 65,
        b"NS" => 2,
        b"MX" => 15,
        b"TXT" => 16,
        b"PTR" => 12,
        b"SOA" => 6,
        b"SRV" => 33,
        b"CNAME" => 5,
        b"DS" => 43,
        b"DNSKEY" => 48,
        b"ANY" => 255,
        _ => return rare_type(text),
    };
    Some(known)
}

/// Whether a class is the Internet's, or any (`IN`, `ANY`, `CLASS1`, 1, 255); `None` for what is no class.
pub(crate) fn is_internet(class: &[u8]) -> Option<bool> {
    match class {
        b"IN" | b"ANY" => Some(true),
        b"CH" | b"HS" | b"NONE" | b"CS" => Some(false),
        _ => {
            let digits = class.strip_prefix(b"CLASS").unwrap_or(class);
            number(digits).map(|class| class == 1 || class == 255)
        }
    }
}

/// A number up to 65535 in decimal digits.
pub(crate) fn number(text: &[u8]) -> Option<u16> {
    if text.is_empty() || text.len() > 5 {
        return None;
    }
    let mut value: u32 = 0;
    for &byte in text {
        value = value * 10 + u32::from(byte.is_ascii_digit().then(|| byte - b'0')?);
    }
    u16::try_from(value).ok()
}

fn rare_type(text: &[u8]) -> Option<u16> {
    if text.first()?.is_ascii_digit() {
        return number(text);
    }
    if let Some((word, digits)) = text.split_at_checked(4)
        && word.eq_ignore_ascii_case(b"TYPE")
    {
        return number(digits);
    }
    let upper = text.to_ascii_uppercase();
    RARE.iter().find(|(name, _)| name.as_bytes() == upper).map(|&(_, number)| number)
}

const RARE: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("MD", 3),
    ("MF", 4),
    ("CNAME", 5),
    ("SOA", 6),
    ("MB", 7),
    ("MG", 8),
    ("MR", 9),
    ("NULL", 10),
    ("WKS", 11),
    ("PTR", 12),
    ("HINFO", 13),
    ("MINFO", 14),
    ("MX", 15),
    ("TXT", 16),
    ("RP", 17),
    ("AFSDB", 18),
    ("X25", 19),
    ("ISDN", 20),
    ("RT", 21),
    ("NSAP", 22),
    ("SIG", 24),
    ("KEY", 25),
    ("PX", 26),
    ("GPOS", 27),
    ("AAAA", 28),
    ("LOC", 29),
    ("NXT", 30),
    ("SRV", 33),
    ("NAPTR", 35),
    ("KX", 36),
    ("CERT", 37),
    ("A6", 38),
    ("DNAME", 39),
    ("OPT", 41),
    ("APL", 42),
    ("DS", 43),
    ("SSHFP", 44),
    ("IPSECKEY", 45),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("DHCID", 49),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("TLSA", 52),
    ("SMIMEA", 53),
    ("HIP", 55),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("OPENPGPKEY", 61),
    ("CSYNC", 62),
    ("ZONEMD", 63),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("SPF", 99),
    ("NID", 104),
    ("L32", 105),
    ("L64", 106),
    ("LP", 107),
    ("EUI48", 108),
    ("EUI64", 109),
    ("TKEY", 249),
    ("TSIG", 250),
    ("IXFR", 251),
    ("AXFR", 252),
    ("MAILB", 253),
    ("MAILA", 254),
    ("ANY", 255),
    ("*", 255),
    ("URI", 256),
    ("CAA", 257),
    ("ALIAS", 65401),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_type_is_read_by_name_and_by_number() {
        for &(name, number) in RARE {
            assert_eq!(record_type(name.as_bytes()), Some(number), "{name}");
            assert_eq!(record_type(name.to_lowercase().as_bytes()), Some(number), "{name}");
        }
        for (text, want) in [
            ("TYPE65", Some(65)),
            ("type65535", Some(65535)),
            ("28", Some(28)),
            ("0", Some(0)),
            ("65536", None),
            ("TYPE", None),
            ("TYPEA", None),
            ("", None),
            ("-1", None),
            ("QUERY", None),
            ("\u{e9}", None),
        ] {
            assert_eq!(record_type(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn a_class_is_the_internets_or_another() {
        for (text, want) in [
            ("IN", Some(true)),
            ("ANY", Some(true)),
            ("CLASS1", Some(true)),
            ("1", Some(true)),
            ("CH", Some(false)),
            ("CLASS3", Some(false)),
            ("A", None),
            ("", None),
        ] {
            assert_eq!(is_internet(text.as_bytes()), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = (record_type(&text), is_internet(&text));
        }
    }
}
