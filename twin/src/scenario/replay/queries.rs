//! A log of DNS queries as load.

use std::path::Path;

use toml::Spanned;

use super::Replayed;
use crate::scenario::ScenarioError;
use crate::scenario::finding::Findings;
use crate::scenario::site::Site;
use crate::scenario::spec::{ReplaySpec, ScenarioSpec};
use forebay_adapters::prefix::{Prefix, PrefixError};

/// That a text is a network.
pub(super) fn check_prefix(prefix: &Spanned<String>, findings: &mut Findings) {
    match prefix.get_ref().parse::<Prefix>() {
        Ok(_) => {}
        Err(PrefixError::NotAPrefix(_)) => findings.add(
            prefix.span(),
            format!("\"{}\" is no network", prefix.get_ref()),
            "a network such as \"203.0.113.0/24\" or \"2001:db8::/32\"",
            "the number after the / is the length of the prefix in bits",
        ),
        Err(PrefixError::HostBits { meant, .. }) => findings.add(
            prefix.span(),
            format!("\"{}\" has bits set beyond its length", prefix.get_ref()),
            "bits beyond the length must be 0",
            format!("did you mean \"{meant}\"?"),
        ),
    }
}

pub(super) fn load(
    _spec: &ScenarioSpec,
    _replay: &ReplaySpec,
    _site: &Site,
    _folder: &Path,
    _file: Option<&Path>,
) -> Result<Replayed, ScenarioError> {
    Err(ScenarioError::Replay { message: "not yet".into(), hint: String::new() })
}
