//! Quantities with their units: data rates, sizes and processor shares, exact integers that print and parse as text.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};
use std::str::FromStr;

/// A text that is not a quantity of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {allowed}")]
pub struct UnitError {
    text: String,
    allowed: &'static str,
}

impl UnitError {
    pub(crate) fn new(text: &str, allowed: &'static str) -> Self {
        UnitError { text: text.to_owned(), allowed }
    }

    /// What would have been allowed.
    pub fn allowed(&self) -> &'static str {
        self.allowed
    }
}

/// Serialises a type by its `Display` and reads it back by its `FromStr`.
macro_rules! impl_serde_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use impl_serde_as_text;

/// The nearest whole number, halves away from zero; negative and undefined values become zero, and what is too large the
/// largest. The same as [`f64::round`] and a cast, without the call that the former is where processors are not
/// presumed to round by themselves.
#[inline]
pub const fn nearest(value: f64) -> u64 {
    // The cast cuts towards zero, saturates and takes NaN to zero; the difference is exact.
    let whole = value as u64;
    whole.saturating_add((value - whole as f64 >= 0.5) as u64)
}

/// Reads `number unit` into a count of the smallest unit; the number may have decimals as long as the count is whole.
pub(crate) fn parse_quantity(text: &str, units: &[(&str, u64)], allowed: &'static str) -> Result<u64, UnitError> {
    let refuse = || UnitError::new(text, allowed);
    let trimmed = text.trim();
    let at = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(refuse)?;
    let (number, unit) = (&trimmed[..at], trimmed[at..].trim());
    let (_, scale) = units.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && decimals.is_empty()) || decimals.len() > 18 {
        return Err(refuse());
    }
    let digits = |part: &str| if part.is_empty() { Ok(0) } else { part.parse::<u64>().map_err(|_| refuse()) };
    let parts = 10u128.pow(decimals.len() as u32);
    let fraction = u128::from(digits(decimals)?) * u128::from(*scale);
    if fraction % parts != 0 {
        return Err(refuse());
    }
    u128::from(digits(whole)?)
        .checked_mul(u128::from(*scale))
        .and_then(|count| count.checked_add(fraction / parts))
        .and_then(|count| u64::try_from(count).ok())
        .ok_or_else(refuse)
}

/// Writes a count of the smallest unit in the largest unit that divides it, so that nothing is lost.
pub(crate) fn write_quantity(f: &mut fmt::Formatter<'_>, count: u64, units: &[(&str, u64)]) -> fmt::Result {
    let (unit, scale) = units.iter().find(|(_, scale)| count.is_multiple_of(*scale)).expect("the smallest unit is one");
    f.pad(&format!("{} {unit}", count / scale))
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $units:ident, $zero:literal, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// Nothing.
            pub const ZERO: $name = $name(0);

            /// As a float, for arithmetic.
            pub fn as_f64(self) -> f64 {
                self.0 as f64
            }

            /// Rounded from a float; negative and undefined values become zero.
            pub fn from_f64(value: f64) -> Self {
                $name(nearest(value))
            }

            /// Less `other`, not below zero.
            pub const fn saturating_sub(self, other: Self) -> Self {
                $name(self.0.saturating_sub(other.0))
            }
        }

        impl Add for $name {
            type Output = $name;
            fn add(self, other: $name) -> $name {
                $name(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: $name) {
                self.0 += other.0;
            }
        }

        impl Sub for $name {
            type Output = $name;
            fn sub(self, other: $name) -> $name {
                $name(self.0 - other.0)
            }
        }

        impl Mul<u64> for $name {
            type Output = $name;
            fn mul(self, times: u64) -> $name {
                $name(self.0 * times)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = $name>>(items: I) -> $name {
                $name(items.map(|item| item.0).sum())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.0 == 0 { f.pad($zero) } else { write_quantity(f, self.0, $units) }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<Self, UnitError> {
                parse_quantity(text, $units, $allowed).map($name)
            }
        }

        impl_serde_as_text!($name);
    };
}

const RATE_UNITS: &[(&str, u64)] =
    &[("Tbit/s", 1_000_000_000_000), ("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000), ("bit/s", 1)];

const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

const CPU_UNITS: &[(&str, u64)] = &[("vCPU", 1_000), ("mCPU", 1)];

quantity!(
    /// A data rate \[bit/s\].
    BitsPerSecond,
    RATE_UNITS,
    "0 bit/s",
    "a data rate such as \"10 Gbit/s\", \"2.5 Mbit/s\" or \"800 kbit/s\""
);
quantity!(
    /// An amount of data or memory \[byte\].
    Bytes,
    SIZE_UNITS,
    "0 B",
    "a size such as \"16 GiB\", \"500 MB\" or \"64 KiB\""
);
quantity!(
    /// A share of processors \[1/1000 of a virtual CPU\].
    Cpu,
    CPU_UNITS,
    "0 vCPU",
    "a processor share such as \"4 vCPU\" or \"250 mCPU\""
);

impl Cpu {
    /// As a number of virtual CPUs.
    pub fn cores(self) -> f64 {
        self.as_f64() / 1000.0
    }
}

impl Bytes {
    /// As bits \[bit\].
    pub fn bits(self) -> f64 {
        self.as_f64() * 8.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nearest_is_round_and_cast() {
        let halves = (0..1000).map(|n| f64::from(n) * 0.5);
        let edges = [0.499_999_999_999_999_94, 4_503_599_627_370_495.5, 9_007_199_254_740_993.0, 1.8e19, 1e300];
        let odd = [-0.5, -3.7, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
        for value in halves.chain(edges).chain(odd) {
            assert_eq!(nearest(value), value.round() as u64, "{value}");
            assert_eq!(nearest(value.next_down()), value.next_down().round() as u64, "below {value}");
        }
    }

    #[test]
    fn quantities_print_and_parse_with_their_unit() {
        assert_eq!("10 Gbit/s".parse::<BitsPerSecond>().unwrap(), BitsPerSecond(10_000_000_000));
        assert_eq!(BitsPerSecond(2_500_000).to_string(), "2500 kbit/s");
        assert_eq!("2.5 Mbit/s".parse::<BitsPerSecond>().unwrap(), BitsPerSecond(2_500_000));
        assert_eq!("16 GiB".parse::<Bytes>().unwrap(), Bytes(16 << 30));
        assert_eq!(Bytes(16 << 30).to_string(), "16 GiB");
        assert_eq!("4 vCPU".parse::<Cpu>().unwrap().cores(), 4.0);
        assert_eq!(Cpu(250).to_string(), "250 mCPU");
        assert_eq!(Cpu::ZERO.to_string(), "0 vCPU");
    }

    #[test]
    fn a_wrong_unit_is_refused_with_what_is_allowed() {
        for text in [
            "10 GiB",
            "10",
            "Gbit/s",
            "-1 Gbit/s",
            "1e3 Mbit/s",
            "0.5 bit/s",
            "1. Mbit/s",
            "99999999999 Tbit/s",
            "1 gbit/s",
        ] {
            let error = text.parse::<BitsPerSecond>().unwrap_err();
            assert!(error.to_string().contains("10 Gbit/s"), "{text}: {error}");
        }
    }

    #[test]
    fn serde_uses_the_text() {
        assert_eq!(serde_json::to_string(&Bytes(1 << 20)).unwrap(), "\"1 MiB\"");
        assert_eq!(serde_json::from_str::<Bytes>("\"64 KiB\"").unwrap(), Bytes(64 << 10));
    }

    proptest! {
        #[test]
        fn text_round_trips(count: u64) {
            prop_assert_eq!(BitsPerSecond(count).to_string().parse::<BitsPerSecond>().unwrap(), BitsPerSecond(count));
            prop_assert_eq!(Bytes(count).to_string().parse::<Bytes>().unwrap(), Bytes(count));
            prop_assert_eq!(Cpu(count).to_string().parse::<Cpu>().unwrap(), Cpu(count));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<BitsPerSecond>();
        }
    }
}
