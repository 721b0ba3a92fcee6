//! What is wrong with a scenario file, and how it is shown: file, line and key, what is allowed, and a hint.

use std::fmt::Write as _;
use std::ops::Range;

use ariadne::{CharSet, Config, IndexType, Label, Report, ReportKind, Source};

use super::ScenarioError;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where in the file \[byte\]; empty when nowhere in particular.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What is allowed, beside the place itself.
    pub allowed: String,
    /// What to do.
    pub hint: String,
}

/// A scenario that cannot be run, and why. All of it is said at once, as far as it can be known at once.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.render(false))]
pub struct Refused {
    /// The file, as it was named.
    pub file: String,
    /// Its text.
    pub text: String,
    /// At least one.
    pub findings: Vec<Finding>,
}

impl Refused {
    /// For people: in colour and with box characters for a terminal, else plain ASCII.
    pub fn render(&self, for_terminal: bool) -> String {
        let mut page = String::new();
        let config = Config::default()
            .with_index_type(IndexType::Byte)
            .with_color(for_terminal)
            .with_char_set(if for_terminal { CharSet::Unicode } else { CharSet::Ascii });
        let source = Source::from(self.text.as_str());
        for finding in &self.findings {
            let span = clamp(&finding.span, &self.text);
            let mut label = Label::new((&self.file, span.clone()));
            if !finding.allowed.is_empty() {
                label = label.with_message(&finding.allowed);
            }
            let report = Report::build(ReportKind::Error, (&self.file, span.clone()))
                .with_config(config)
                .with_message(&finding.message)
                .with_label(label)
                .finish();
            let mut drawn = Vec::new();
            let shown = report.write((&self.file, &source), &mut drawn).is_ok();
            if shown {
                page.push_str(&String::from_utf8_lossy(&drawn));
            } else {
                // Without the drawing, the facts.
                let _ = writeln!(page, "error: {}:{}: {}", self.file, line_of(&self.text, span.start), finding.message);
            }
            if !finding.hint.is_empty() {
                let _ = writeln!(page, "  hint: {}", finding.hint);
            }
        }
        page
    }
}

/// A span that lies within the text, on the boundaries of characters.
fn clamp(span: &Range<usize>, text: &str) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    // A table is shown by its first line.
    let mut end = span.end.clamp(start, text.len());
    if let Some(line) = text[start..].find('\n') {
        end = end.min(start + line);
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    start..end.max(start)
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].bytes().filter(|byte| *byte == b'\n').count() + 1
}

/// Findings as they are made, each at a place.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub Vec<Finding>);

impl Findings {
    /// Notes that something is wrong at `span`.
    pub(crate) fn add(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        allowed: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.0.push(Finding { span, message: message.into(), allowed: allowed.into(), hint: hint.into() });
    }

    /// Notes it unless `holds`.
    pub(crate) fn require(
        &mut self,
        holds: bool,
        span: Range<usize>,
        message: impl FnOnce() -> String,
        allowed: &str,
        hint: &str,
    ) {
        if !holds {
            self.add(span, message(), allowed, hint);
        }
    }

    /// Refuses the file if anything was found: in the order of the file, each thing once.
    pub(crate) fn refuse(mut self, file: &str, text: &str) -> Result<(), ScenarioError> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by_key(|finding| finding.span.start);
        self.0.dedup();
        Err(ScenarioError::Refused(Box::new(Refused {
            file: file.to_owned(),
            text: text.to_owned(),
            findings: self.0,
        })))
    }
}

/// A file that is no TOML, or not of the shape that it should have.
pub(crate) fn refused_toml(file: &str, text: &str, error: &toml::de::Error) -> ScenarioError {
    let findings = vec![from_toml(error, text)];
    ScenarioError::Refused(Box::new(Refused { file: file.to_owned(), text: text.to_owned(), findings }))
}

/// A finding from what the TOML parser or a type's reader says.
pub(super) fn from_toml(error: &toml::de::Error, text: &str) -> Finding {
    let span = error.span().unwrap_or(0..0);
    let message = error.message().trim().replace('\n', ", ");
    if let Some(rest) = message.strip_prefix("unknown field `")
        && let Some((key, rest)) = rest.split_once('`')
    {
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        let hint = match super::names::nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it, or see the scenarios that come with Forebay".to_owned(),
        };
        return Finding {
            span,
            message: format!("unknown key `{key}`"),
            allowed: format!("allowed here: {}", known.join(", ")),
            hint,
        };
    }
    if let Some(rest) = message.strip_prefix("unknown variant `")
        && let Some((word, rest)) = rest.split_once('`')
    {
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        let hint = super::names::nearest(word, known.iter().copied());
        return Finding {
            span,
            message: format!("unknown value \"{word}\""),
            allowed: format!("allowed here: {}", known.join(", ")),
            hint: hint.map_or_else(|| "write one of these".to_owned(), |near| format!("did you mean \"{near}\"?")),
        };
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        let key = rest.trim_end_matches('`');
        return Finding {
            span,
            message: format!("key `{key}` is missing"),
            allowed: format!("`{key}` is needed here"),
            hint: format!("add `{key} = …`"),
        };
    }
    if let Some((quoted, allowed)) = message.split_once(" is not ")
        && quoted.starts_with('"')
    {
        let key = key_at(text, span.start);
        return Finding {
            span,
            message: match key {
                Some(key) => format!("`{key}` has a wrong unit or value: {quoted}"),
                None => format!("wrong unit or value: {quoted}"),
            },
            hint: if allowed.starts_with("a time") {
                "write a time as 2026-06-14T18:00:00Z".to_owned()
            } else if allowed.starts_with("a code point") {
                "write its name as RFC 4594 has it, in quotes".to_owned()
            } else {
                "a quantity is a number and a unit, in quotes".to_owned()
            },
            allowed: format!("not {allowed}"),
        };
    }
    if let Some((found, expected)) = message.strip_prefix("invalid type: ").and_then(|m| m.rsplit_once(", expected ")) {
        let expected = in_words(expected);
        return Finding {
            message: match key_at(text, span.start) {
                Some(key) => format!("`{key}` is of the wrong type: {found}"),
                None => format!("wrong type: {found}"),
            },
            span,
            hint: if found.starts_with("integer") || found.starts_with("float") {
                format!("{expected} is wanted; a quantity needs its unit, in quotes, such as \"30 s\"")
            } else {
                format!("{expected} is wanted")
            },
            allowed: format!("expected {expected}"),
        };
    }
    if let Some((found, expected)) = message.strip_prefix("invalid value: ").and_then(|m| m.rsplit_once(", expected "))
    {
        let expected = in_words(expected);
        return Finding {
            message: match key_at(text, span.start) {
                Some(key) => format!("`{key}` is out of range: {found}"),
                None => format!("out of range: {found}"),
            },
            span,
            allowed: format!("expected {expected}"),
            hint: format!("{expected} is wanted"),
        };
    }
    Finding {
        span,
        message,
        allowed: "no TOML here".to_owned(),
        hint: "text stands in quotes, a table's name in brackets, and each key once".to_owned(),
    }
}

/// Where the value of a dotted key such as `slicing.fixed[0].guarantee` stands under table `root`; where that key is not
/// written, the nearest table around it.
pub(super) fn place_of(root: &str, key: &str, text: &str) -> Range<usize> {
    use toml::de::{DeTable, DeValue};
    let Ok(document) = DeTable::parse(text) else { return 0..0 };
    let Some(root) = document.get_ref().get(root) else { return 0..0 };
    let mut here = root;
    for part in key.split(['.', '[']) {
        let next = match (here.get_ref(), part.strip_suffix(']')) {
            (DeValue::Array(list), Some(index)) => index.parse::<usize>().ok().and_then(|index| list.get(index)),
            (DeValue::Table(table), None) => table.get(part),
            _ => None,
        };
        match next {
            Some(next) => here = next,
            None => break,
        }
    }
    here.span()
}

/// Rust's words for types, in people's words.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number, not negative".to_owned(),
        "f64" => "a number".to_owned(),
        "a string" | "a borrowed string" | "string" => "a text in quotes".to_owned(),
        "a boolean" => "true or false".to_owned(),
        other => other.strip_prefix("struct ").map_or_else(|| other.to_owned(), |_| "a table".to_owned()),
    }
}

/// The key of the value that begins at byte `at`, where it stands on the same line.
fn key_at(text: &str, at: usize) -> Option<&str> {
    let before = text.get(..at)?;
    let before = before.strip_suffix(|c: char| c.is_whitespace()).map_or(before, str::trim_end);
    let before = before.strip_suffix('=')?.trim_end_matches([' ', '\t']);
    let start = before.rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).map_or(0, |i| i + 1);
    (start < before.len()).then(|| &before[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_file_line_allowed_and_hint() {
        let refused = Refused {
            file: "some.toml".into(),
            text: "a = 1\nb = 2\n".into(),
            findings: vec![Finding {
                span: 10..11,
                message: "b is two".into(),
                allowed: "one is allowed".into(),
                hint: "write one".into(),
            }],
        };
        let page = refused.render(false);
        for part in ["some.toml:2:5", "b is two", "one is allowed", "hint: write one", "b = 2"] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(page.is_ascii(), "{page}");
    }

    #[test]
    fn no_span_panics() {
        for text in ["", "ä", "ä\nö = \"\u{1F600}\""] {
            for start in 0..12 {
                for end in 0..12 {
                    let findings = vec![Finding {
                        span: Range { start, end },
                        message: "x".into(),
                        allowed: "y".into(),
                        hint: String::new(),
                    }];
                    let refused = Refused { file: "f".into(), text: text.into(), findings };
                    assert!(refused.render(true).contains('x'));
                }
            }
        }
    }
}
