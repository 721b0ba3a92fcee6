//! Marks: which differentiated services code point the packets of a slice carry.
//!
//! Only the names and the choice; who writes the mark into packets is whoever executes the plan.
//!
//! The service classes are those of RFC 4594: low-latency data (AF2x, sec. 4.7) for interactive work, which is requests and
//! short answers over TCP; multimedia streaming (AF3x, sec. 4.6) for video that is buffered; high-throughput data (AF1x,
//! sec. 4.8) for downloads. Not EF: that is for inelastic flows whose rate is policed at the edge (RFC 3246). Within a
//! service class, the slice of a link that goes first is dropped last: its drop precedence is 1, the next one's 2, and
//! that of all others 3 (RFC 2597).

use std::fmt;
use std::str::FromStr;

use forebay_world::{DSCP_MAX, Work};
use serde::{Deserialize, Serialize};

use crate::controller::config::MarksConfig;

/// A differentiated services code point (RFC 2474), by name or by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Dscp(u8);

/// Names that follow no rule: default forwarding, lower effort (RFC 8622), voice admit (RFC 5865), expedited forwarding.
const NAMES: [(&str, u8); 5] = [("DF", 0), ("BE", 0), ("LE", 1), ("VA", 44), ("EF", 46)];

impl Dscp {
    /// The code point of assured forwarding class 1 to 4 with drop precedence 1 to 3 (RFC 2597).
    pub const fn af(class: u8, drop: u8) -> Self {
        assert!(class >= 1 && class <= 4 && drop >= 1 && drop <= 3, "AF has classes 1 to 4, drop precedences 1 to 3");
        Dscp(8 * class + 2 * drop)
    }

    /// The code point with a number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        (number <= DSCP_MAX).then_some(Dscp(number))
    }

    /// Its number, 0 to 63.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, low) = (self.0 / 8, self.0 % 8);
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.pad(name),
            None if low == 0 => f.pad(&format!("CS{class}")),
            None if (1..=4).contains(&class) && low.is_multiple_of(2) => f.pad(&format!("AF{class}{}", low / 2)),
            None => f.pad(&self.0.to_string()),
        }
    }
}

impl FromStr for Dscp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.trim().to_ascii_uppercase();
        if let Some((_, number)) = NAMES.iter().find(|(name, _)| *name == upper) {
            return Ok(Dscp(*number));
        }
        let digits = |prefix: &str| Some(upper.strip_prefix(prefix)?.bytes().map(|b| b.wrapping_sub(b'0')).collect());
        let af: Option<Vec<u8>> = digits("AF");
        let cs: Option<Vec<u8>> = digits("CS");
        match (af.as_deref(), cs.as_deref()) {
            (Some(&[class @ 1..=4, drop @ 1..=3]), _) => Ok(Dscp::af(class, drop)),
            (_, Some(&[class @ 0..=7])) => Ok(Dscp(8 * class)),
            _ => upper.parse().ok().and_then(Dscp::from_number).ok_or_else(|| {
                format!(
                    "\"{text}\" is not a code point such as \"AF31\", \"CS1\", \"EF\", \"DF\" or a number to \"63\""
                )
            }),
        }
    }
}

impl TryFrom<String> for Dscp {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Dscp> for String {
    fn from(dscp: Dscp) -> String {
        dscp.to_string()
    }
}

/// The mark of a slice whose class does such work, before which `ahead` slices of the same kind on its link go.
pub fn mark(marks: &MarksConfig, work: &Work, ahead: usize) -> Dscp {
    let of_kind = match work {
        Work::Interactive { .. } => &marks.interactive,
        Work::Streaming { .. } => &marks.streaming,
        Work::Download { .. } => &marks.download,
    };
    of_kind.get(ahead).or(of_kind.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_registry() {
        // IANA, Differentiated Services Field Codepoints.
        let known = [
            ("DF", 0),
            ("LE", 1),
            ("CS1", 8),
            ("AF11", 10),
            ("AF13", 14),
            ("AF21", 18),
            ("AF31", 26),
            ("AF33", 30),
            ("AF41", 34),
            ("VA", 44),
            ("EF", 46),
            ("CS7", 56),
            ("63", 63),
        ];
        for (name, number) in known {
            assert_eq!(name.parse(), Ok(Dscp(number)));
            assert_eq!(Dscp(number).to_string(), name);
        }
    }

    #[test]
    fn every_number_is_read_as_it_is_written_and_nothing_else_is_read() {
        for number in 0..=DSCP_MAX {
            assert_eq!(Dscp(number).to_string().parse(), Ok(Dscp(number)));
            assert_eq!(number.to_string().parse(), Ok(Dscp(number)));
        }
        for text in ["", "64", "AF", "AF51", "AF14", "AF0", "CS8", "CS", "AF111", "EF1", "-1", "AFé"] {
            assert!(text.parse::<Dscp>().is_err(), "{text}");
        }
    }

    #[test]
    fn who_goes_first_is_dropped_last() {
        let marks = MarksConfig::default();
        let work = Work::Download { size: forebay_world::Bytes(1), rate: forebay_world::BitsPerSecond(1) };
        let names: Vec<String> = (0..5).map(|ahead| mark(&marks, &work, ahead).to_string()).collect();
        assert_eq!(names, ["AF11", "AF12", "AF13", "AF13", "AF13"]);
    }
}
