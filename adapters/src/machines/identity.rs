//! Who a machine is, and whose: written as it is made, and read back from outside.

use std::fmt;
use std::str::FromStr;

use forebay_world::{Generation, Timestamp, VmId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What our UUIDs are made in (RFC 9562, sec. 5.5); never to be changed, or machines that stand become foreign.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_29c4_0e5b_4c57_9a3e_f0e8_ba7c_a9ac);
/// Begins every mark, and says how it is to be read.
const MARK: &str = "forebay1";

/// Whose machines they are: one controller's, which nobody else's are confused with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner(String);

impl Owner {
    /// The UUID of a machine of theirs: always the same, so that making it twice makes one.
    pub fn uuid_of(&self, vm: VmId) -> Uuid {
        Uuid::new_v5(&NAMESPACE, format!("{self}/{vm}").as_bytes())
    }

    /// Their name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let fits = (1..=31).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-');
        if fits {
            return Ok(Owner(text.to_owned()));
        }
        let shown = crate::error::shown(text.as_bytes());
        Err(format!("{shown:?} is no owner; allowed: 1 to 31 of a-z, 0-9 and -, not - first"))
    }
}

impl TryFrom<String> for Owner {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> String {
        owner.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a machine was made of, as a digest (SHA-256): two machines of the same digest are made of the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpecDigest(pub [u8; 32]);

impl fmt::Display for SpecDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpecDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SpecDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{:?} is no digest; allowed: 64 hexadecimal digits", crate::error::shown(text.as_bytes()));
        let hex = |c: &u8| c.is_ascii_digit() || (b'a'..=b'f').contains(c);
        if text.len() != 64 || !text.as_bytes().iter().all(hex) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(SpecDigest(bytes))
    }
}

impl TryFrom<String> for SpecDigest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SpecDigest> for String {
    fn from(digest: SpecDigest) -> String {
        digest.to_string()
    }
}

/// What stands on a machine of ours, for whoever finds it.
///
/// As text, where there is a place for one line of it: `forebay1 owner=edge vm=7 generation=3 created=… spec=…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Whose it is.
    pub owner: Owner,
    /// Which it is.
    pub vm: VmId,
    /// The plan that asked for it.
    pub generation: Generation,
    /// When it was made, by the clock of whoever made it.
    pub created: Timestamp,
    /// What it was made of.
    pub spec: SpecDigest,
}

impl Mark {
    /// The UUID of the machine.
    pub fn uuid(&self) -> Uuid {
        self.owner.uuid_of(self.vm)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mark { owner, vm, generation, created, spec } = self;
        let created = created.as_nanos();
        write!(f, "{MARK} owner={owner} vm={} generation={generation} created={created} spec={spec}", vm.0)
    }
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{:?} is no mark of ours", crate::error::shown(text.as_bytes()));
        let mut words = text.split(' ');
        if words.next() != Some(MARK) {
            return Err(wrong());
        }
        let mut value = |key: &str| {
            let (found, value) = words.next().and_then(|word| word.split_once('=')).ok_or_else(wrong)?;
            if found == key { Ok(value.to_owned()) } else { Err(wrong()) }
        };
        let number = |text: String| text.parse::<u64>().map_err(|_| wrong());
        let mark = Mark {
            owner: value("owner")?.parse()?,
            vm: VmId(number(value("vm")?)?),
            generation: Generation(number(value("generation")?)?),
            created: Timestamp::from_nanos(number(value("created")?)?),
            spec: value("spec")?.parse()?,
        };
        if words.next().is_some() { Err(wrong()) } else { Ok(mark) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_uuid_of_a_machine_never_changes() {
        // Machines out there bear these.
        let owner: Owner = "edge".parse().unwrap();
        assert_eq!(owner.uuid_of(VmId(7)).to_string(), "78a800e0-716c-5894-9655-8e278ac4e3a7");
        assert_ne!(owner.uuid_of(VmId(7)), owner.uuid_of(VmId(8)));
        assert_ne!(owner.uuid_of(VmId(7)), "edge-2".parse::<Owner>().unwrap().uuid_of(VmId(7)));
    }

    proptest! {
        #[test]
        fn a_mark_reads_back(vm: u64, generation: u64, created: u64, spec: [u8; 32], owner in "[a-z0-9][a-z0-9-]{0,30}") {
            let mark = Mark {
                owner: owner.parse().unwrap(),
                vm: VmId(vm),
                generation: Generation(generation),
                created: Timestamp::from_nanos(created),
                spec: SpecDigest(spec),
            };
            prop_assert_eq!(mark.to_string().parse::<Mark>().unwrap(), mark.clone());
            let json = serde_json::to_string(&mark).unwrap();
            prop_assert_eq!(serde_json::from_str::<Mark>(&json).unwrap(), mark);
        }

        #[test]
        fn anything_else_is_no_mark(text in "(forebay1 )?[ -~é]{0,80}") {
            if let Ok(mark) = text.parse::<Mark>() {
                prop_assert_eq!(mark.to_string(), text);
            }
        }
    }

    #[test]
    fn an_owner_is_a_plain_word() {
        for wrong in ["", "-a", "A", "a b", "a/b", "..", "é", &"a".repeat(32)] {
            assert!(wrong.parse::<Owner>().is_err(), "{wrong:?}");
        }
    }
}
