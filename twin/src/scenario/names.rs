//! Names that a file gives to things, their positions, and what was probably meant by a name it does not give.

use std::collections::BTreeMap;

use toml::Spanned;

use super::finding::Findings;

/// Names of one kind of thing, each with its position.
#[derive(Debug)]
pub(crate) struct Names {
    kind: &'static str,
    positions: BTreeMap<String, usize>,
    listed: Vec<String>,
}

impl Names {
    /// Takes the names in, in order; one that was given before is a finding.
    pub(crate) fn collect<'a>(
        kind: &'static str,
        names: impl IntoIterator<Item = &'a Spanned<String>>,
        findings: &mut Findings,
    ) -> Self {
        let mut taken = Names { kind, positions: BTreeMap::new(), listed: Vec::new() };
        for name in names {
            taken.push(name, findings);
        }
        taken
    }

    /// Takes one more name in.
    pub(crate) fn push(&mut self, name: &Spanned<String>, findings: &mut Findings) {
        let text = name.get_ref();
        if text.trim().is_empty() || text.chars().any(|c| c.is_control()) {
            findings.add(
                name.span(),
                format!("a {} needs a name", self.kind),
                "empty, or with control characters",
                "give it a short name such as \"ams\"",
            );
        }
        if self.positions.insert(text.clone(), self.listed.len()).is_some() {
            findings.add(
                name.span(),
                format!("{} \"{text}\" is there twice", self.kind),
                "this name is taken",
                format!("give each {} its own name", self.kind),
            );
        }
        self.listed.push(text.clone());
    }

    /// Takes a name in that was made from others; should two be made alike, the first keeps it.
    pub(crate) fn push_made(&mut self, name: String) {
        self.positions.entry(name.clone()).or_insert(self.listed.len());
        self.listed.push(name);
    }

    /// All names, in order.
    pub(crate) fn listed(&self) -> &[String] {
        &self.listed
    }

    /// The position of `name`, if it is one.
    pub(crate) fn get(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    /// The position of `name`; that there is none is a finding.
    pub(crate) fn find(&self, name: &Spanned<String>, findings: &mut Findings) -> Option<usize> {
        let found = self.get(name.get_ref());
        if found.is_none() {
            let mut shown: Vec<&str> = self.listed.iter().map(String::as_str).take(12).collect();
            if self.listed.len() > shown.len() {
                shown.push("…");
            }
            let hint = match nearest(name.get_ref(), self.listed.iter().map(String::as_str)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("name a {} of this file", self.kind),
            };
            findings.add(
                name.span(),
                format!("unknown {} \"{}\"", self.kind, name.get_ref()),
                if shown.is_empty() { "there is none".to_owned() } else { format!("known: {}", shown.join(", ")) },
                hint,
            );
        }
        found
    }

    /// The positions of `names`, or all when none are given.
    pub(crate) fn find_all(&self, names: Option<&Vec<Spanned<String>>>, findings: &mut Findings) -> Vec<usize> {
        match names {
            None => (0..self.listed.len()).collect(),
            Some(names) => names.iter().filter_map(|name| self.find(name, findings)).collect(),
        }
    }
}

/// The candidate that was probably meant: the one at the smallest edit distance (V. Levenshtein, 1966), if it is no
/// more than a third of the word away.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = ((word.chars().count() + 1) / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(!from.eq_ignore_ascii_case(to));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let known = ["capacity", "delay", "concurrent_boots"];
        for (word, meant) in [
            ("capcity", Some("capacity")),
            ("Capacity", Some("capacity")),
            ("concurent_boot", Some("concurrent_boots")),
            ("dealy", Some("delay")),
            ("colour", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}
