//! What EC2 answers: XML, in bounded depth and size.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Deepest nesting that is read.
const DEPTH_MOST: usize = 64;

/// An element, with its text or its children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// Reads a document.
    pub(super) fn read(text: &str) -> Result<Element, String> {
        let mut reader = Reader::from_str(text);
        let mut open = vec![Element::default()];
        loop {
            match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(start) => {
                    if open.len() > DEPTH_MOST {
                        return Err(format!("elements more than {DEPTH_MOST} deep"));
                    }
                    open.push(Element { name: name(start.local_name().as_ref()), ..Element::default() });
                }
                Event::Empty(start) => {
                    let child = Element { name: name(start.local_name().as_ref()), ..Element::default() };
                    last(&mut open).children.push(child);
                }
                Event::End(_) => {
                    if open.len() < 2 {
                        return Err("an end without a beginning".to_owned());
                    }
                    let mut child = open.pop().unwrap_or_default();
                    // What stands between elements is layout.
                    child.text = if child.children.is_empty() { child.text.trim().to_owned() } else { String::new() };
                    last(&mut open).children.push(child);
                }
                Event::Text(content) => last(&mut open).text += &content.xml10_content(),
                Event::CData(content) => last(&mut open).text += &content.xml10_content(),
                Event::GeneralRef(reference) => {
                    let named = |name: &str| match name {
                        "amp" => Some('&'),
                        "lt" => Some('<'),
                        "gt" => Some('>'),
                        "quot" => Some('"'),
                        "apos" => Some('\''),
                        _ => None,
                    };
                    let numbered = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                    let found = numbered.or_else(|| named(&reference.xml10_content()));
                    last(&mut open).text.push(found.ok_or("a reference to what is not there")?);
                }
                Event::Eof => break,
                _ => {}
            }
        }
        match (open.len(), open.pop().and_then(|mut outside| outside.children.pop())) {
            (1, Some(document)) => Ok(document),
            _ => Err("no whole document".to_owned()),
        }
    }

    /// The first element at a path: `Errors/Error/Code`.
    pub(super) fn at(&self, path: &str) -> Option<&Element> {
        path.split('/').try_fold(self, |element, name| element.children.iter().find(|child| child.name == name))
    }

    /// The text at a path; empty is none.
    pub(super) fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path).map(|element| element.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The items of a set at a path.
    pub(super) fn items(&self, path: &str) -> impl Iterator<Item = &Element> {
        self.at(path).into_iter().flat_map(|set| &set.children).filter(|child| child.name == "item")
    }
}

fn last(open: &mut [Element]) -> &mut Element {
    open.last_mut().expect("what is outside stays")
}

fn name(found: &str) -> String {
    found.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_needed_of_an_answer_is_found() {
        let text = "<?xml version=\"1.0\"?><R xmlns=\"x\"><set><item><id>a &amp; &#98;</id></item><item><id>c</id></item>\
                    </set><empty/></R>";
        let reply = Element::read(text).unwrap();
        let ids: Vec<_> = reply.items("set").filter_map(|item| item.text_at("id")).collect();
        assert_eq!(ids, ["a & b", "c"]);
        assert_eq!(reply.text_at("empty"), None);
        let deep = "<a>".repeat(100) + &"</a>".repeat(100);
        for wrong in ["", "text", "<a>", "<a></b>", "<a>&none;</a>", "</a>", deep.as_str()] {
            assert!(Element::read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "([<>/&;a\"= !?-]|<a>|</a>|&#[0-9]{1,9};|<!\\[CDATA\\[|]]>){0,40}") {
            let _ = Element::read(&text);
        }
    }
}
