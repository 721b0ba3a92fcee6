//! Texts in which the facts of a machine are filled in: its user data, its kernel's command line.
//!
//! `{address}` and the others of [`WORDS`] stand for facts; `{{word}}` writes `{word}`, as shells and templates need it. All
//! else stands as it is, so that maps and blocks of YAML need no care. A word that is none of them is an error, not empty.

use std::net::IpAddr;
use std::ops::Range;

use forebay_world::VmId;

/// What can be filled in.
pub const WORDS: [&str; 6] = ["address", "prefix_length", "gateway", "class", "region", "vm"];

/// A text with places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Word(&'static str),
}

/// The facts of one machine.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// Which.
    pub vm: VmId,
    /// Its class.
    pub class: &'a str,
    /// Its region.
    pub region: &'a str,
    /// Its address, the length of its network, and the way out of it; `None` where the file gives it none.
    pub address: Option<(IpAddr, u8, Option<IpAddr>)>,
}

/// A word in braces that stands for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWord {
    /// The word.
    pub word: String,
    /// Where it stands in the text \[byte\].
    pub span: Range<usize>,
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// The first word that stands for nothing.
    pub fn parse(text: &str) -> Result<Template, UnknownWord> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(open) = text[at..].find('{').map(|open| at + open) {
            plain.push_str(&text[at..open]);
            let doubled = text[open + 1..].starts_with('{');
            let from = open + 1 + usize::from(doubled);
            let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let length = text[from..].find(|c| !is_word(c)).unwrap_or(text.len() - from);
            let (word, rest) = text[from..].split_at(length);
            let closing = if doubled { "}}" } else { "}" };
            if word.is_empty() || !rest.starts_with(closing) {
                plain.push('{');
                at = open + 1;
                continue;
            }
            at = from + length + closing.len();
            if doubled {
                plain.push_str(&text[open + 1..at - 1]);
                continue;
            }
            let Some(known) = WORDS.iter().find(|known| **known == word) else {
                return Err(UnknownWord { word: word.to_owned(), span: open..at });
            };
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Word(known));
        }
        plain.push_str(&text[at..]);
        parts.push(Part::Text(plain));
        Ok(Template(parts))
    }

    /// Whether a fact is filled in.
    pub fn uses(&self, word: &str) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Word(known) if *known == word))
    }

    /// The text of one machine. A fact that it has not is empty.
    pub fn fill(&self, filling: &Filling<'_>) -> String {
        let of = |word: &str| match word {
            "vm" => filling.vm.to_string(),
            "class" => filling.class.to_owned(),
            "region" => filling.region.to_owned(),
            "address" => filling.address.map(|(address, ..)| address.to_string()).unwrap_or_default(),
            "prefix_length" => filling.address.map(|(_, length, _)| length.to_string()).unwrap_or_default(),
            _ => {
                filling.address.and_then(|(.., gateway)| gateway).map(|gateway| gateway.to_string()).unwrap_or_default()
            }
        };
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Word(word) => text.push_str(&of(word)),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filling() -> Filling<'static> {
        let address = ("10.20.0.7".parse().unwrap(), 24, Some("10.20.0.1".parse().unwrap()));
        Filling { vm: VmId(7), class: "video", region: "ams", address: Some(address) }
    }

    #[test]
    fn facts_are_filled_in_and_the_rest_stands() {
        for (text, filled) in [
            ("ip={address}/{prefix_length} via {gateway}", "ip=10.20.0.7/24 via 10.20.0.1"),
            ("{vm} {class} {region}", "vm-7 video ams"),
            ("a: { b: {c: d} }\n{\"e\": {}}", "a: { b: {c: d} }\n{\"e\": {}}"),
            ("${HOME} ${{name}} {{ds}} {{ v1.name }}", "${HOME} ${name} {ds} {{ v1.name }}"),
            ("{", "{"),
            ("{{address}", "{10.20.0.7"),
        ] {
            match Template::parse(text) {
                Ok(template) => assert_eq!(template.fill(&filling()), filled),
                Err(error) => panic!("{text}: {error:?}"),
            }
        }
        let error = Template::parse("a {adress} b").unwrap_err();
        assert_eq!((error.word.as_str(), error.span), ("adress", 2..10));
    }

    proptest! {
        #[test]
        fn a_text_without_words_in_braces_is_itself(text in "[a-z{} :\n]{0,40}") {
            match Template::parse(&text) {
                Ok(template) if !WORDS.iter().any(|word| template.uses(word)) => {
                    let filled = template.fill(&filling());
                    prop_assert!(filled == text || text.contains("{{"));
                }
                _ => {}
            }
        }
    }
}
