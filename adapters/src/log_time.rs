//! Times as logs write them: seconds since the epoch with up to nine decimals, or a date.

use forebay_world::Timestamp;

/// What is read as a time, for error messages.
pub(crate) const ALLOWED_TIME: &str =
    "a time such as 2026-06-14T18:00:00Z, 2026-06-14 18:00:00 or seconds since 1970 (1781460000.25), up to 2554";

/// Reads epoch seconds exactly, without a detour over floating point, or RFC 3339 and its usual variants.
pub(crate) fn parse_time(text: &[u8]) -> Option<Timestamp> {
    match parse_epoch(text) {
        Some(time) => Some(time),
        None => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}

fn parse_epoch(text: &[u8]) -> Option<Timestamp> {
    let mut nanos: u64 = 0;
    let (mut digits, mut decimals) = (0, None);
    for &byte in text {
        match (byte, decimals) {
            (b'0'..=b'9', Some(9..)) => continue, // finer than a nanosecond
            (b'0'..=b'9', _) => {
                nanos = nanos.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
                digits += 1;
                decimals = decimals.map(|d: u32| d + 1);
            }
            (b'.', None) if digits > 0 => decimals = Some(0),
            _ => return None,
        }
    }
    let missing = 9 - decimals.unwrap_or(0);
    (digits > 0).then(|| nanos.checked_mul(10u64.pow(missing)).map(Timestamp::from_nanos))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_is_read_to_the_nanosecond() {
        let check =
            |text: &str, nanos: u64| assert_eq!(parse_time(text.as_bytes()).unwrap().as_nanos(), nanos, "{text}");
        check("1521911720.865716", 1_521_911_720_865_716_000);
        check("1521911720", 1_521_911_720_000_000_000);
        check("0.000000001", 1);
        check("0.0000000019", 1);
        check("7.", 7_000_000_000);
        check("1998-04-30 21:30:00", 893_971_800_000_000_000);
        for text in ["", ".", ".5", "-1", "1e9", "1.2.3", "1521911720865", "99999999999999999999", "NaN", "\u{e9}"] {
            assert_eq!(parse_time(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn epoch_text_round_trips(nanos: u64) {
            let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            prop_assert_eq!(parse_time(text.as_bytes()), Some(Timestamp::from_nanos(nanos)));
        }

        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_time(&text);
        }
    }
}
