//! What an announcer says of the demand that an event brings, however the feed spells it.

use std::ops::RangeInclusive;

use crate::error::shown;

/// Uplifts that are believed.
pub const UPLIFTS: RangeInclusive<f64> = 0.5..=20.0;

/// What is said of an event besides its time; what is not said is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Announced {
    pub(super) kind: Option<String>,
    pub(super) regions: Vec<String>,
    pub(super) classes: Vec<String>,
    pub(super) uplift: Option<f64>,
    pub(super) title: String,
}

/// The words of a list: `;`, `,` and blanks part them.
pub(super) fn words(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| c == ';' || c == ',' || c.is_whitespace());
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The same names, each once, in the order they first come.
pub(super) fn distinct(names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

/// A factor on usual demand within what is believed, and what there is to say when it was not.
///
/// # Errors
/// What is wrong, for people.
pub(super) fn uplift(text: &str) -> Result<(f64, Option<String>), String> {
    match text.trim().parse::<f64>() {
        Ok(given) if given.is_finite() => Ok(believed(given)),
        _ => Err(format!("uplift \"{}\" is no number", shown(text.as_bytes()))),
    }
}

/// As [`uplift`], of a number.
pub(super) fn believed(given: f64) -> (f64, Option<String>) {
    let taken = given.clamp(*UPLIFTS.start(), *UPLIFTS.end());
    let clamped = (taken != given)
        .then(|| format!("uplift {given} is not within {} to {}: {taken} is taken", UPLIFTS.start(), UPLIFTS.end()));
    (taken, clamped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_uplifts_are_read() {
        assert_eq!(words(" ams;fra, lhr\tnyc ;;"), ["ams", "fra", "lhr", "nyc"]);
        assert_eq!(distinct(words("b a b")), ["b", "a"]);
        assert_eq!(uplift(" 2.5 "), Ok((2.5, None)));
        let (taken, said) = uplift("50").unwrap();
        assert!(taken == 20.0 && said.unwrap().contains("uplift 50 is not within 0.5 to 20: 20 is taken"));
        assert_eq!(uplift("0").unwrap().0, 0.5);
        assert_eq!(uplift("-3").unwrap().0, 0.5);
        for text in ["", "much", "inf", "NaN"] {
            assert!(uplift(text).unwrap_err().contains("is no number"), "{text}");
        }
    }
}
