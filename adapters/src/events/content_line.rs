//! Content lines of iCalendar (RFC 5545 section 3.1): unfolded, taken apart into name, parameters and value, each with
//! the number of the line it begins on, and the components they stand in.
//!
//! Not for what a value means. No library gives the line of a property, and an operator needs it.

use std::collections::BTreeMap;

use crate::error::{Place, ReadError, shown};
use crate::input::Input;

/// The deepest nesting of components that is read: VCALENDAR, VEVENT and VALARM are three.
const DEEPEST: usize = 16;

/// A property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContentLine {
    /// Where it begins, counted from 1.
    pub(super) line: u64,
    /// In upper case.
    pub(super) name: String,
    /// Parameters by name in upper case; of one that is given again, the first.
    pub(super) parameters: BTreeMap<String, String>,
    /// As it is written, escapes and all.
    pub(super) value: String,
}

/// A component such as VEVENT, with what stands directly in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Component {
    /// In upper case.
    pub(super) name: String,
    /// Where it begins.
    pub(super) line: u64,
    /// Its properties, in order.
    pub(super) properties: Vec<ContentLine>,
    /// Components within it, in order.
    pub(super) components: Vec<Component>,
}

impl Component {
    /// The first property of this name.
    pub(super) fn property(&self, name: &str) -> Option<&ContentLine> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// All properties of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ContentLine> {
        self.properties.iter().filter(move |property| property.name == name)
    }
}

impl ContentLine {
    /// Takes a line apart; `None` when it is none.
    fn parse(line: u64, text: &str) -> Option<ContentLine> {
        let end = text.find([':', ';'])?;
        let name = text[..end].trim();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return None;
        }
        let mut parameters = BTreeMap::new();
        let mut rest = &text[end..];
        while let Some(parameter) = rest.strip_prefix(';') {
            let equals = parameter.find(['=', ':', ';'])?;
            let key = parameter[..equals].trim().to_ascii_uppercase();
            rest = &parameter[equals..];
            let Some(mut values) = rest.strip_prefix('=') else {
                // A parameter without a value, as some write it.
                parameters.entry(key).or_default();
                continue;
            };
            let mut value = String::new();
            loop {
                if let Some(quoted) = values.strip_prefix('"') {
                    let (inside, after) = quoted.split_once('"')?;
                    value.push_str(inside);
                    values = after;
                } else {
                    let end = values.find([',', ';', ':'])?;
                    value.push_str(&values[..end]);
                    values = &values[end..];
                }
                let Some(next) = values.strip_prefix(',') else { break };
                value.push(',');
                values = next;
            }
            parameters.entry(key).or_insert(value);
            rest = values;
        }
        let value = rest.strip_prefix(':')?.to_owned();
        Some(ContentLine { line, name: name.to_ascii_uppercase(), parameters, value })
    }

    /// The value as TEXT (RFC 5545 section 3.3.11): without escapes.
    pub(super) fn text(&self) -> String {
        unescaped(&self.value)
    }

    /// The value as a list of TEXT: parts between commas that are not escaped.
    pub(super) fn texts(&self) -> Vec<String> {
        let mut parts = vec![String::new()];
        let mut escaped = false;
        for character in self.value.chars() {
            if character == ',' && !escaped {
                parts.push(String::new());
                continue;
            }
            escaped = character == '\\' && !escaped;
            parts.last_mut().expect("there is one from the start").push(character);
        }
        parts.iter().map(|part| unescaped(part)).filter(|part| !part.is_empty()).collect()
    }
}

fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n' | 'N') => text.push('\n'),
                Some(escaped) => text.push(escaped),
                None => {}
            },
            other => text.push(other),
        }
    }
    text.trim().to_owned()
}

/// Components whose properties are kept, and properties that nobody asks for.
const KEPT: [&str; 5] = ["VCALENDAR", "VEVENT", "VTIMEZONE", "STANDARD", "DAYLIGHT"];
const UNWANTED: [&str; 6] = ["DESCRIPTION", "ATTENDEE", "ATTACH", "X-ALT-DESC", "COMMENT", "URL"];

/// Reads all calendars of a file. Lines that are no content lines are left out and given to `odd` with their number.
///
/// # Errors
/// [`ReadError::Malformed`] for text that is not UTF-8, for components that do not nest, and for a file that ends within
/// one; [`ReadError::Unrecognised`] where no calendar begins.
pub(super) fn read(input: &mut Input, odd: &mut dyn FnMut(u64, &str)) -> Result<Vec<Component>, ReadError> {
    let mut calendars = Vec::new();
    let mut open: Vec<Component> = Vec::new();
    let mut last = 0;
    while let Some((line, text)) = next_unfolded(input)? {
        last = line;
        if text.trim().is_empty() {
            continue;
        }
        let Some(content) = ContentLine::parse(line, &text) else {
            odd(line, &text);
            continue;
        };
        let named = content.value.trim().to_ascii_uppercase();
        match content.name.as_str() {
            "BEGIN" => {
                if open.is_empty() && named != "VCALENDAR" {
                    let what = format!("{} outside a calendar", shown(text.as_bytes()));
                    let hint = "a calendar begins with BEGIN:VCALENDAR";
                    return Err(input.malformed(Place::Line(line), what, "BEGIN:VCALENDAR", hint));
                }
                if open.len() >= DEEPEST {
                    return Err(input.malformed(
                        Place::Line(line),
                        format!("components nested {} deep", open.len() + 1),
                        format!("at most {DEEPEST}"),
                        "a VEVENT stands directly in its VCALENDAR",
                    ));
                }
                open.push(Component { name: named, line, ..Component::default() });
            }
            "END" => {
                let Some(closed) = open.pop().filter(|closed| closed.name == named) else {
                    return Err(input.malformed(
                        Place::Line(line),
                        format!("{} closes nothing that is open", shown(text.as_bytes())),
                        "an END for each BEGIN, the innermost first",
                        "is a line missing, or the file cut and pasted together?",
                    ));
                };
                match open.last_mut() {
                    Some(outer) => outer.components.push(closed),
                    None => calendars.push(closed),
                }
            }
            _ => match open.last_mut() {
                Some(component) if KEPT.contains(&component.name.as_str()) => {
                    if !UNWANTED.contains(&content.name.as_str()) {
                        component.properties.push(content);
                    }
                }
                Some(_) => {}
                None => odd(line, &text),
            },
        }
    }
    if let Some(left) = open.last() {
        return Err(input.malformed(
            Place::Line(last),
            format!("the file ends within the {} of line {}", left.name, left.line),
            "a calendar up to its END:VCALENDAR",
            "the file is cut short: fetch it again",
        ));
    }
    if calendars.is_empty() {
        return Err(ReadError::Unrecognised {
            path: input.path().to_owned(),
            found: "no calendar in it".to_owned(),
            allowed: super::ALLOWED,
            hint: "a calendar begins with BEGIN:VCALENDAR",
        });
    }
    Ok(calendars)
}

/// The next line with those that continue it, and its number.
fn next_unfolded(input: &mut Input) -> Result<Option<(u64, String)>, ReadError> {
    let Some(line) = input.next_line()? else { return Ok(None) };
    let number = line.number;
    let text = if number == 1 { line.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line.text) } else { line.text };
    let mut bytes = text.to_vec();
    while matches!(input.fill(1)?.first(), Some(b' ' | b'\t')) {
        input.consume(1);
        let Some(line) = input.next_line()? else { break };
        bytes.extend_from_slice(line.text);
    }
    // A fold may stand within a character: only the whole is text.
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some((number, text))),
        Err(error) => {
            let what = format!("{} is not UTF-8", shown(error.as_bytes()));
            Err(input.malformed(Place::Line(number), what, "text in UTF-8", "save the calendar as UTF-8"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn read_text(text: &[u8]) -> Result<(Vec<Component>, Vec<u64>), ReadError> {
        let mut input = Input::from_reader("x.ics", Cursor::new(text.to_vec()))?;
        let mut odd = Vec::new();
        let read = read(&mut input, &mut |line, _| odd.push(line))?;
        Ok((read, odd))
    }

    #[test]
    fn a_line_is_taken_apart() {
        let check = |text: &str, name: &str, parameters: &[(&str, &str)], value: &str| {
            let line = ContentLine::parse(3, text).unwrap();
            let found: Vec<_> = line.parameters.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!((line.name.as_str(), &found[..], line.value.as_str()), (name, parameters, value), "{text}");
        };
        check("uid:a:b", "UID", &[], "a:b");
        check(
            "DTSTART;TZID=Europe/Amsterdam:20261025T200000",
            "DTSTART",
            &[("TZID", "Europe/Amsterdam")],
            "20261025T200000",
        );
        check("X;A=\"p:q;r\",s;b=:v", "X", &[("A", "p:q;r,s"), ("B", "")], "v");
        check("X;ALONE:v", "X", &[("ALONE", "")], "v");
        for text in ["", "no colon", ":value", "X;A=\"open:v", "a b:c", "X;A"] {
            assert_eq!(ContentLine::parse(1, text), None, "{text}");
        }
        let text = |value: &str| ContentLine { value: value.into(), ..ContentLine::parse(1, "X:").unwrap() };
        assert_eq!(text(r"a\, b\; c\\d\ne\").text(), "a, b; c\\d\ne");
        assert_eq!(text(r"a\,b, c ,,d\\,e").texts(), ["a,b", "c", "d\\", "e"]);
    }

    #[test]
    fn folds_are_undone_and_lines_counted() {
        let (calendars, odd) = read_text(
            b"\xef\xbb\xbfBEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:caf\xc3\r\n \xa9 and\r\n\t more\r\nodd\r\nUID:1\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        )
        .unwrap();
        let event = &calendars[0].components[0];
        assert_eq!((event.name.as_str(), event.line), ("VEVENT", 2));
        let summary = event.property("SUMMARY").unwrap();
        assert_eq!((summary.line, summary.value.as_str()), (3, "café and more"));
        assert_eq!(event.property("UID").unwrap().line, 7);
        assert_eq!(odd, [6]);
    }

    #[test]
    fn what_does_not_nest_is_an_error_with_its_line() {
        let check = |text: &str, want: &str| {
            let error = read_text(text.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with(want), "{error}");
            assert!(!error.hint().is_empty());
        };
        check("BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\n", "x.ics:3: the file ends within the VEVENT of line 2");
        check("BEGIN:VCALENDAR\nEND:VEVENT\n", "x.ics:2: END:VEVENT closes nothing");
        check("END:VCALENDAR\n", "x.ics:1: END:VCALENDAR closes nothing");
        check("BEGIN:VEVENT\nEND:VEVENT\n", "x.ics:1: BEGIN:VEVENT outside a calendar");
        check("hello\n", "x.ics: no calendar in it");
        check(&format!("BEGIN:VCALENDAR\n{}", "BEGIN:A\n".repeat(100_000)), "x.ics:17: components nested 17 deep");
        let error = read_text(b"BEGIN:VCALENDAR\nSUMMARY:\xff\nEND:VCALENDAR\n").unwrap_err();
        assert!(error.to_string().starts_with("x.ics:2: SUMMARY:\u{fffd} is not UTF-8"), "{error}");
    }

    proptest! {
        #[test]
        fn no_line_panics(text in "[A-Z;:=\",\\\\é ]{0,30}") {
            if let Some(line) = ContentLine::parse(1, &text) {
                let _ = (line.text(), line.texts());
            }
        }
    }
}
