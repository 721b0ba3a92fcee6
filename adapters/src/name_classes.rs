//! Which resource class a name belongs to: rules in order, inside the operator's zones.
//!
//! A rule is `PATTERN=CLASS`. `video.cdn.example` is this name and all below it, `*.video.cdn.example` all below it,
//! `v*-live.cdn.example` names whose labels fit, and all below them; `*` alone is every name. The first rule that fits
//! decides. Nothing but the class is kept of a name.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Place, ReadError, shown};
use crate::input::Input;

/// The class of names outside the operator's zones.
pub const OTHER: &str = "other";
/// The class of names inside them that no rule fits.
pub const DEFAULT: &str = "default";

/// What a rule looks like, for messages.
const ALLOWED: &str = "PATTERN=CLASS, such as *.video.cdn.example=video";

/// Rules in order, and zones.
#[derive(Clone, Debug, Default)]
pub struct NameClasses {
    /// Class names; a class is a position here. The first is [`OTHER`], the second [`DEFAULT`].
    classes: Vec<String>,
    rules: Vec<(Pattern, usize)>,
    zones: Vec<Pattern>,
    /// Names that came lately.
    known: HashMap<String, usize>,
}

/// Names that are remembered with their classes; then it is begun again.
const REMEMBERED: usize = 1 << 16;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// From the right, lower case, each with `*` for any characters.
    labels: Vec<String>,
    /// Whether the name needs a label before these.
    below: bool,
}

/// A rule or zone that cannot be used: what is wrong with it, and a hint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct RuleError {
    /// What is wrong.
    pub what: String,
    /// What may help.
    pub hint: String,
}

impl NameClasses {
    /// No rules and no zones: every name is of class [`DEFAULT`].
    pub fn new() -> NameClasses {
        NameClasses { classes: vec![OTHER.to_owned(), DEFAULT.to_owned()], ..NameClasses::default() }
    }

    /// Adds a rule behind those there are.
    ///
    /// # Errors
    /// [`RuleError`] for a text that is no rule.
    pub fn add_rule(&mut self, text: &str) -> Result<(), RuleError> {
        let Some((pattern, class)) = text.rsplit_once('=') else {
            return Err(refuse(format!("rule \"{}\" has no =", shown(text.as_bytes())), ALLOWED));
        };
        let (pattern, class) = (Pattern::of(pattern.trim())?, class.trim());
        if class.is_empty() || class.contains(|c: char| !(c.is_alphanumeric() || "-_.".contains(c))) {
            let what = format!("class \"{}\" is no name of a class", shown(class.as_bytes()));
            return Err(refuse(what, "letters, digits, -, _ and ."));
        }
        let class = match self.classes.iter().position(|known| known == class) {
            Some(class) => class,
            None => {
                self.classes.push(class.to_owned());
                self.classes.len() - 1
            }
        };
        self.rules.push((pattern, class));
        Ok(())
    }

    /// Adds the rules of a file, one a line; empty lines and those that begin with # are left out.
    ///
    /// # Errors
    /// [`ReadError`], with the line that is no rule.
    pub fn add_rules_of(&mut self, path: &Path) -> Result<(), ReadError> {
        let mut input = Input::open(path)?;
        while let Some(line) = input.next_line()? {
            let (number, text) = (line.number, String::from_utf8_lossy(line.text).into_owned());
            if text.trim().is_empty() || text.trim_start().starts_with('#') {
                continue;
            }
            if let Err(error) = self.add_rule(text.trim()) {
                return Err(input.malformed(Place::Line(number), error.what, ALLOWED, error.hint));
            }
        }
        Ok(())
    }

    /// Adds a zone of the operator's. As soon as there is one, names outside all of them are of class [`OTHER`].
    ///
    /// # Errors
    /// [`RuleError`] for what is no domain name.
    pub fn add_zone(&mut self, text: &str) -> Result<(), RuleError> {
        self.zones.push(Pattern::of(text)?);
        Ok(())
    }

    /// Names of the classes, by number.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Whether it is said which names are the operator's: by zones, or by rules.
    pub fn has_own(&self) -> bool {
        !(self.zones.is_empty() && self.rules.is_empty())
    }

    /// The class of a name in lower case without the trailing dot. A name that no rule fits is [`DEFAULT`] inside a
    /// zone, and when there are neither zones nor rules; else [`OTHER`].
    pub fn class_of(&mut self, name: &str) -> usize {
        if self.rules.is_empty() && self.zones.is_empty() {
            return 1;
        }
        if let Some(&class) = self.known.get(name) {
            return class;
        }
        let class = self.decide(name);
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(name.to_owned(), class);
        class
    }

    fn decide(&self, name: &str) -> usize {
        if !self.zones.is_empty() && !self.zones.iter().any(|zone| zone.fits(name)) {
            return 0;
        }
        let rule = self.rules.iter().find(|(pattern, _)| pattern.fits(name));
        rule.map_or(usize::from(!self.zones.is_empty()), |&(_, class)| class)
    }
}

fn refuse(what: String, hint: impl Into<String>) -> RuleError {
    RuleError { what, hint: hint.into() }
}

impl Pattern {
    fn of(text: &str) -> Result<Pattern, RuleError> {
        let trimmed = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if trimmed == "*" || trimmed.is_empty() && text == "." {
            return Ok(Pattern { labels: Vec::new(), below: false });
        }
        let (rest, below) = match trimmed.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (trimmed.strip_prefix('.').unwrap_or(&trimmed), trimmed.starts_with('.')),
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || "=/,\"".contains(c);
        if rest.split('.').any(str::is_empty) || rest.contains(odd) {
            let what = format!("\"{}\" is no domain name", shown(text.as_bytes()));
            return Err(refuse(what, "a name such as video.cdn.example, or *.video.cdn.example for those below it"));
        }
        Ok(Pattern { labels: rest.rsplit('.').map(str::to_owned).collect(), below })
    }

    fn fits(&self, name: &str) -> bool {
        let mut labels = name.rsplit('.');
        self.labels.iter().all(|glob| labels.next().is_some_and(|label| fits_glob(glob.as_bytes(), label.as_bytes())))
            && (!self.below || labels.next().is_some())
    }
}

/// Whether a label fits, `*` standing for any characters.
pub fn fits_glob(glob: &[u8], label: &[u8]) -> bool {
    // Where the last star was, and how much of the label it has taken so far.
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < label.len() {
        if glob.get(at) == Some(&b'*') {
            star = Some((at, seen));
            at += 1;
        } else if glob.get(at) == Some(&label[seen]) {
            at += 1;
            seen += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            at = star_at + 1;
            seen = taken + 1;
        } else {
            return false;
        }
    }
    glob[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(rules: &[&str], zones: &[&str]) -> NameClasses {
        let mut classes = NameClasses::new();
        rules.iter().for_each(|rule| classes.add_rule(rule).unwrap());
        zones.iter().for_each(|zone| classes.add_zone(zone).unwrap());
        classes
    }

    #[test]
    fn the_first_rule_that_fits_decides_inside_the_zones() {
        let rules = ["*.video.cdn.example=video", "v*-live.cdn.example = live", "static.example=web"];
        let mut with_zone = classes(&rules, &["cdn.example."]);
        let mut without = classes(&rules, &[]);
        for (name, inside, open) in [
            ("a.video.cdn.example", "video", "video"),
            ("a.b.video.cdn.example", "video", "video"),
            ("video.cdn.example", "default", "other"),
            ("v7-live.cdn.example", "live", "live"),
            ("x.v7-live.cdn.example", "live", "live"),
            ("v7-dead.cdn.example", "default", "other"),
            ("static.example", "other", "web"),
            ("notcdn.example", "other", "other"),
            ("", "other", "other"),
        ] {
            for _ in 0..2 {
                let class = with_zone.class_of(name);
                assert_eq!(with_zone.classes()[class], inside, "{name}");
                let class = without.class_of(name);
                assert_eq!(without.classes()[class], open, "{name}");
            }
        }
        assert_eq!(classes(&[], &[]).class_of("a.b"), 1);
        assert_eq!(classes(&["*=all"], &[]).class_of(""), 2);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in ["a.example", "=video", "a..b=video", "a b=video", "a.example=", "a.example=x,y"] {
            let error = NameClasses::new().add_rule(text).unwrap_err();
            assert!(!error.hint.is_empty(), "{text}: {error}");
        }
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (glob, label, want) in [
            ("*", "", true),
            ("a*", "a", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("*b*b", "abab", true),
            ("*ab", "aab", true),
            ("ab", "abc", false),
        ] {
            assert_eq!(fits_glob(glob.as_bytes(), label.as_bytes()), want, "{glob} {label}");
        }
    }
}
