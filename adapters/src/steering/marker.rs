//! The mark that stands beside what is ours: whose it is, of which generation, what was asked for and what stood before.
//! One line of text, so that it can be a TXT record.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use forebay_world::{Generation, RegionId};

use super::answers::{Clients, Share, Shares};
use super::apportion::WHOLE;

/// What begins a mark; another number will be another form.
const FORM: &str = "forebay1";

/// The mark of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) owner: String,
    /// The generation that last changed the name.
    pub(super) generation: Generation,
    /// Whether that was taken back.
    pub(super) rolled_back: bool,
    /// What is to be answered; none where nothing is any more.
    pub(super) now: Option<Shares>,
    /// What stood before the generation; none where nothing did.
    pub(super) before: Option<Shares>,
}

impl Marker {
    /// The mark of a change that comes after this one.
    pub(super) fn next(known: Option<&Marker>, owner: &str, generation: Generation, now: Option<Shares>) -> Marker {
        let before = match known {
            // The same generation again: what stood before it did so before it was interrupted.
            Some(known) if known.generation == generation && !known.rolled_back => known.before.clone(),
            Some(known) => known.now.clone(),
            None => None,
        };
        Marker { owner: owner.to_owned(), generation, rolled_back: false, now, before }
    }

    /// The mark of the change that takes this one back.
    pub(super) fn taken_back(&self) -> Marker {
        Marker { rolled_back: true, now: self.before.clone(), before: self.now.clone(), ..self.clone() }
    }

    /// Reads a mark; `None` for a text that is none.
    pub(super) fn parse(text: &str) -> Option<Marker> {
        let mut words = text.split(' ');
        (words.next()? == FORM).then_some(())?;
        let mut field = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let owner = field("owner")?.to_owned();
        let generation = Generation(field("generation")?.parse().ok()?);
        let rolled_back = match field("rolled-back")? {
            "yes" => true,
            "no" => false,
            _ => return None,
        };
        let (now, before) = (parse_shares(field("now")?)?, parse_shares(field("before")?)?);
        words.next().is_none().then_some(Marker { owner, generation, rolled_back, now, before })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rolled_back = if self.rolled_back { "yes" } else { "no" };
        write!(f, "{FORM} owner={} generation={} rolled-back={rolled_back}", self.owner, self.generation.0)?;
        write!(f, " now={} before={}", shown(self.now.as_ref()), shown(self.before.as_ref()))
    }
}

/// `20;*:192.0.2.1=6000@0,192.0.2.2=4000@1;ams:…`, and `-` for nothing.
fn shown(shares: Option<&Shares>) -> String {
    let Some(shares) = shares else { return "-".to_owned() };
    let mut text = shares.ttl_seconds.to_string();
    for (clients, pool) in &shares.pools {
        text += match clients {
            Clients::Others => ";*:",
            Clients::Region(_) => ";",
        };
        if let Clients::Region(region) = clients {
            text += region;
            text += ":";
        }
        let member = |(address, share): (&IpAddr, &Share)| format!("{address}={}@{}", share.parts, share.site.0);
        text += &pool.iter().map(member).collect::<Vec<_>>().join(",");
    }
    text
}

fn parse_shares(text: &str) -> Option<Option<Shares>> {
    if text == "-" {
        return Some(None);
    }
    let mut parts = text.split(';');
    let mut shares = Shares { ttl_seconds: parts.next()?.parse().ok()?, pools: BTreeMap::new() };
    for part in parts {
        let (clients, members) = part.split_once(':')?;
        let clients = if clients == "*" { Clients::Others } else { Clients::Region(clients.to_owned()) };
        let member = |text: &str| {
            let (address, rest) = text.split_once('=')?;
            let (parts, site) = rest.split_once('@')?;
            let parts = parts.parse().ok().filter(|parts| (1..=WHOLE).contains(parts))?;
            Some((address.parse().ok()?, Share { site: RegionId(site.parse().ok()?), parts }))
        };
        let pool: BTreeMap<IpAddr, Share> = members.split(',').map(member).collect::<Option<_>>()?;
        for v4 in [true, false] {
            let family = pool.iter().filter(|(address, _)| address.is_ipv4() == v4);
            let sum = family.map(|(_, share)| u64::from(share.parts)).sum::<u64>();
            (sum == 0 || sum == u64::from(WHOLE)).then_some(())?;
        }
        if shares.pools.insert(clients, pool).is_some() {
            return None;
        }
    }
    shares.pools.contains_key(&Clients::Others).then_some(Some(shares))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shares(weights: &[u32]) -> Shares {
        let share = |(at, parts): (usize, &u32)| {
            (IpAddr::from([192, 0, 2, at as u8]), Share { site: RegionId::at(at), parts: *parts })
        };
        let others: BTreeMap<IpAddr, Share> = weights.iter().enumerate().map(share).collect();
        let v6 = [("2001:db8::1".parse().unwrap(), Share { site: RegionId(0), parts: WHOLE })].into();
        Shares { ttl_seconds: 20, pools: [(Clients::Others, others), (Clients::Region("ams-1".into()), v6)].into() }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let marker = Marker {
            owner: "edge".to_owned(),
            generation: Generation(7),
            rolled_back: false,
            now: Some(shares(&[6000, 4000])),
            before: None,
        };
        let text = "forebay1 owner=edge generation=7 rolled-back=no \
                    now=20;*:192.0.2.0=6000@0,192.0.2.1=4000@1;ams-1:2001:db8::1=10000@0 before=-";
        assert_eq!(marker.to_string(), text.replace("  ", " "));
        assert_eq!(Marker::parse(&marker.to_string()), Some(marker.clone()));
        let back = marker.taken_back();
        assert_eq!((back.now.as_ref(), back.rolled_back), (None, true));
        assert_eq!(Marker::parse(&back.to_string()), Some(back));
    }

    #[test]
    fn what_stood_before_a_generation_outlives_its_repetition() {
        let first = Marker::next(None, "o", Generation(1), Some(shares(&[WHOLE])));
        let second = Marker::next(Some(&first), "o", Generation(2), Some(shares(&[5000, 5000])));
        let again = Marker::next(Some(&second), "o", Generation(2), Some(shares(&[1000, 9000])));
        assert_eq!((&second.before, &again.before), (&first.now, &first.now));
        // After it was taken back, the same generation once more has the same before it.
        let redone = Marker::next(Some(&second.taken_back()), "o", Generation(2), second.now.clone());
        assert_eq!(redone, second);
    }

    #[test]
    fn what_is_no_mark_is_none() {
        let good = Marker::next(None, "o", Generation(1), Some(shares(&[WHOLE]))).to_string();
        for (from, to) in [
            ("forebay1", "forebay2"),
            ("=1 ", "=x "),
            ("=10000@0", "=9999@0"),
            ("*:", "x:"),
            ("-", "- -"),
            (";ams-1", ";*"),
            ("=no", "="),
        ] {
            assert_ne!(good.replacen(from, to, 1), good);
            assert_eq!(Marker::parse(&good.replacen(from, to, 1)), None, "{from} {to}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(forebay1 owner=a generation=[0-9]{0,30} rolled-back=no now=)?[ -~]{0,60}") {
            let _ = Marker::parse(&text);
        }
    }
}
