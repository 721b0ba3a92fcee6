//! How many sessions a machine has under way, read from a page of its server.

use serde_json::Value;

use super::{ProbeError, check_path};

/// Where a machine says how many sessions it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// The page, where it is another than that of the probe.
    pub path: Option<String>,
    /// Where in it.
    pub count: Count,
}

/// A number in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Count {
    /// By a pointer into JSON (RFC 6901): `/connections/active`.
    Pointer(String),
    /// By a line `NAME NUMBER`, as in the text that Prometheus reads: `nginx_connections_active`, or with its labels as
    /// they are written, `haproxy_frontend_current_sessions{proxy="www"}`.
    Line(String),
    /// From nginx's `stub_status`: `Active connections: 291`. That counts the connection that asks, too.
    StubStatus,
}

impl Sessions {
    pub(super) fn check(&self) -> Result<(), ProbeError> {
        if let Some(path) = &self.path {
            check_path(path)?;
        }
        match &self.count {
            Count::Pointer(pointer) if !pointer.is_empty() && !pointer.starts_with('/') => {
                Err(ProbeError { what: format!("JSON pointer {pointer:?}"), allowed: "one as RFC 6901 has it: /a/b" })
            }
            Count::Line(name) if name.trim() != name || name.is_empty() || name.contains(['\n', '\r']) => {
                Err(ProbeError {
                    what: format!("name of a number {name:?}"),
                    allowed: "a name, with its labels if any",
                })
            }
            _ => Ok(()),
        }
    }
}

impl Count {
    /// The number in a page. `None` when it is not there, or is no whole number from 0 on.
    pub fn read(&self, page: &[u8]) -> Option<u64> {
        match self {
            Count::Pointer(pointer) => {
                let page: Value = serde_json::from_slice(page).ok()?;
                let number = page.pointer(pointer)?;
                number.as_u64().or_else(|| whole(number.as_f64()?))
            }
            Count::Line(name) => {
                let page = std::str::from_utf8(page).ok()?;
                // Its last line may have been cut; a number that is half there is another number.
                let lines = page.split_inclusive('\n').filter(|line| line.ends_with('\n'));
                let mut found = lines.filter_map(|line| {
                    let rest = line.trim_start().strip_prefix(name.as_str())?;
                    rest.starts_with([' ', '\t']).then(|| rest.split_ascii_whitespace().next())?
                });
                let number = found.next()?;
                // Two of one name: which?
                if found.next().is_some() { None } else { whole(number.parse().ok()?) }
            }
            Count::StubStatus => {
                let page = std::str::from_utf8(page).ok()?;
                let line = page.split_inclusive('\n').find(|line| line.starts_with("Active connections:"))?;
                line.strip_suffix('\n')?.split_once(':')?.1.trim().parse().ok()
            }
        }
    }
}

/// A number of things. Prometheus writes all numbers as floating-point ones.
fn whole(number: f64) -> Option<u64> {
    const EXACT_MOST: f64 = 9_007_199_254_740_992.0;
    ((0.0..=EXACT_MOST).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METRICS: &str = "# HELP nginx_connections_active Active client connections\n\
        # TYPE nginx_connections_active gauge\n\
        nginx_connections_active 291\n\
        up{job=\"a b\"} 1\n\
        up{job=\"c\"} 0 1395066363000\n\
        big 1.2e+03\n\
        half 0.5\n\
        none NaN\n\
        less -1\n\
        endless +Inf\n\
        twice 1\n\
        twice 2\n\
        cut 12";

    #[test]
    fn a_number_is_found_where_it_stands_and_nowhere_else() {
        let line = |name: &str| Count::Line(name.into()).read(METRICS.as_bytes());
        for (name, expected) in [
            ("nginx_connections_active", Some(291)),
            ("up{job=\"a b\"}", Some(1)),
            ("up{job=\"c\"}", Some(0)),
            ("big", Some(1200)),
            ("up", None),
            ("nginx_connections", None),
            ("half", None),
            ("none", None),
            ("less", None),
            ("endless", None),
            ("twice", None),
            ("cut", None),
            ("missing", None),
        ] {
            assert_eq!(line(name), expected, "{name}");
        }
        let json = br#"{"a":{"b":[7, 12.0, -3, 0.5, "5", null, 18446744073709551615, 1e300]}}"#;
        let at = |n: usize| Count::Pointer(format!("/a/b/{n}")).read(json);
        let whole = (0..9).map(at).collect::<Vec<_>>();
        assert_eq!(whole, [Some(7), Some(12), None, None, None, None, Some(u64::MAX), None, None]);
        assert_eq!(Count::Pointer("/a/b/0".into()).read(&json[..20]), None);
        let stub = b"Active connections: 291 \nserver accepts handled requests\n 16630948 16630948 31070465 \n";
        assert_eq!(Count::StubStatus.read(stub), Some(291));
        for other in [&stub[..22], b"Active connections: many\n", b"<html>", b"\xff\xfe\n"] {
            assert_eq!(Count::StubStatus.read(other), None);
        }
    }

    proptest! {
        #[test]
        fn no_page_makes_it_panic(page in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..400) {
            let metrics = [&METRICS.as_bytes()[..cut.min(METRICS.len())], &page].concat();
            for count in [Count::StubStatus, Count::Pointer("/a".into()), Count::Line("up".into())] {
                let _ = (count.read(&page), count.read(&metrics));
            }
        }
    }
}
