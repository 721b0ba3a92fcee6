//! The operator's prefix table: CSV with the columns `prefix` and `region`, in any order.

use std::collections::BTreeMap;

use forebay_world::RegionId;

use crate::error::{Place, ReadError, shown};
use crate::input::Input;
use crate::prefix::{Prefix, PrefixError};
use crate::table::{Fields, Header, is_blank, unclosed_quote};

/// The number of a region, or what is allowed and a hint.
pub(super) type NumberOf<'a> = dyn FnMut(&str) -> Result<RegionId, (String, &'static str)> + 'a;

/// Adds the networks of a file to a table.
pub(super) fn read(
    input: &mut Input,
    table: &mut BTreeMap<Prefix, RegionId>,
    number_of: &mut NumberOf<'_>,
) -> Result<(), ReadError> {
    const ALLOWED: &str = "the columns prefix,region";
    let header = Header::read(input, ALLOWED)?;
    let (prefix_at, region_at) = (header.need("prefix", input, ALLOWED)?, header.need("region", input, ALLOWED)?);
    while let Some(line) = input.next_line()? {
        if is_blank(line.text) {
            continue;
        }
        let (number, text) = (line.number, line.text.to_vec());
        let place = Place::Line(number);
        let Some(fields) = Fields::of(&text).collect::<Option<Vec<_>>>() else {
            return Err(unclosed_quote(input, number));
        };
        if fields.len() != header.columns.len() {
            let (what, allowed) =
                (format!("{} fields", fields.len()), format!("{} fields, as in the header", header.columns.len()));
            return Err(input.malformed(place, what, allowed, "write one prefix and its region a line"));
        }
        let prefix: Prefix = String::from_utf8_lossy(fields[prefix_at]).parse().map_err(|error: PrefixError| {
            let hint = match &error {
                PrefixError::HostBits { meant, .. } => format!("was {meant} meant?"),
                PrefixError::NotAPrefix(_) => "write an address, a slash and a number of bits".to_owned(),
            };
            let what = format!("prefix \"{}\" is none", shown(fields[prefix_at]));
            input.malformed(place, what, "a network such as 203.0.113.0/24 or 2001:db8::/32", hint)
        })?;
        let region = number_of(&String::from_utf8_lossy(fields[region_at])).map_err(|(allowed, hint)| {
            let what = format!("region \"{}\" is unknown", shown(fields[region_at]));
            input.malformed(place, what, allowed, hint)
        })?;
        if table.insert(prefix, region).is_some_and(|before| before != region) {
            let what = format!("prefix {prefix} has another region above");
            return Err(input.malformed(place, what, "each prefix once", "remove one of the two lines"));
        }
    }
    Ok(())
}
