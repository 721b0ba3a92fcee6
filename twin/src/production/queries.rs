//! `[dns]`, checked: where queries are seen, and what they tell: the client's region and the name's class.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use forebay_adapters::dnstap_listener::ListenAddress;
use forebay_adapters::{Fallback, Geography, LogFormat, NameClasses, ReadError, Vantage};
use forebay_world::{ClassId, Region, RegionId};
use jiff::tz::TimeZone;
use toml::Spanned;

use super::spec::{DnsSpec, GeographySpec, ProductionSpec};
use crate::scenario::finding::Findings;
use crate::scenario::site::Site;
use crate::scenario::{nearest, zone};

/// Where queries are seen. There is at least one place.
#[derive(Clone, Debug)]
pub struct Queries {
    /// Where servers' dnstap is listened for.
    pub dnstap: Vec<ListenAddress>,
    /// Logs that servers write.
    pub logs: Vec<QueryLog>,
    /// Where the queries that count are seen.
    pub vantage: Vantage,
    /// Where clients are.
    pub whereabouts: Whereabouts,
    /// Which class a name is of …
    pub names: NameClasses,
    /// … by its number there; `None` for names that do not count.
    pub class_of: Vec<Option<ClassId>>,
}

/// A text log of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryLog {
    /// The file.
    pub path: PathBuf,
    /// Its format; told by its content where `None`.
    pub format: Option<LogFormat>,
    /// Time zone of times that carry none.
    pub zone: TimeZone,
}

/// What is known of where clients are.
#[derive(Clone, Debug, Default)]
pub struct Whereabouts {
    /// CSV file of client networks and regions.
    pub prefixes: Option<PathBuf>,
    /// Database in MMDB format.
    pub database: Option<PathBuf>,
    /// Regions of countries.
    pub countries: BTreeMap<String, RegionId>,
    /// Regions of continents.
    pub continents: BTreeMap<String, RegionId>,
    /// What becomes of addresses that nothing is known of.
    pub fallback: Fallback,
}

impl Whereabouts {
    /// Reads the files.
    ///
    /// # Errors
    /// [`ReadError`] with file and line.
    pub fn open(&self, regions: &[Region]) -> Result<Geography, ReadError> {
        let mut geography = Geography::new(regions).with_fallback(self.fallback);
        for (code, region) in &self.countries {
            geography = geography.with_country(code, *region);
        }
        for (code, region) in &self.continents {
            geography = geography.with_continent(code, *region);
        }
        if let Some(prefixes) = &self.prefixes {
            geography = geography.with_prefix_table(prefixes)?;
        }
        if let Some(database) = &self.database {
            geography = geography.with_database(database)?;
        }
        Ok(geography)
    }
}

/// Places where queries are seen, if there are any.
pub(super) fn check(spec: &ProductionSpec, site: &Site, folder: &Path, findings: &mut Findings) -> Option<Queries> {
    let section = spec.dns.as_ref()?;
    let given = section.get_ref();
    let mut dnstap = Vec::new();
    for text in &given.dnstap {
        match text.get_ref().parse::<ListenAddress>() {
            Ok(address) if dnstap.contains(&address) => {
                findings.add(text.span(), format!("{address} is there twice"), "each place once", "leave one out");
            }
            Ok(address) => dnstap.push(address),
            Err(error) => {
                findings.add(text.span(), error.to_string(), "unix:/path/of/socket, tcp:127.0.0.1:6000", error.hint());
            }
        }
    }
    let mut logs: Vec<QueryLog> = Vec::new();
    for log in &given.log {
        let log = log.get_ref();
        let format = log.format.as_ref().and_then(|format| {
            let found = format.get_ref().parse::<LogFormat>();
            if found.is_err() {
                unknown_word("format", format, &LogFormat::ALL.map(LogFormat::name), findings);
            }
            found.ok()
        });
        let path = folder.join(log.path.get_ref());
        if logs.iter().any(|known| known.path == path) {
            let what = format!("{} is there twice", path.display());
            findings.add(log.path.span(), what, "each log once", "its queries would count twice");
        }
        let zone = log.time_zone.as_ref().and_then(|zone| zone::find(zone, findings)).unwrap_or(TimeZone::UTC);
        logs.push(QueryLog { path, format, zone });
    }
    if given.dnstap.is_empty() && given.log.is_empty() {
        findings.add(
            section.span(),
            "[dns] says nowhere where queries are seen",
            "`dnstap` or [[dns.log]] is needed",
            "add `dnstap = [\"unix:/run/forebay/dnstap.sock\"]`, or leave [dns] out",
        );
    }
    let vantages = Vantage::ALL.map(Vantage::name);
    let vantage = Vantage::ALL.into_iter().find(|vantage| vantage.name() == given.vantage.get_ref());
    if vantage.is_none() {
        unknown_word("vantage", &given.vantage, &vantages, findings);
    }
    let (names, class_of) = check_names(given, site, findings);
    Some(Queries {
        dnstap,
        logs,
        vantage: vantage.unwrap_or(Vantage::Authority),
        whereabouts: check_whereabouts(section, site, folder, findings),
        names,
        class_of,
    })
}

fn unknown_word(key: &str, word: &Spanned<String>, known: &[&str], findings: &mut Findings) {
    let hint = nearest(word.get_ref(), known.iter().copied());
    findings.add(
        word.span(),
        format!("`{key}`: unknown value \"{}\"", word.get_ref()),
        format!("allowed here: {}", known.join(", ")),
        hint.map_or_else(|| "use one of these".to_owned(), |near| format!("did you mean \"{near}\"?")),
    );
}

fn check_names(given: &DnsSpec, site: &Site, findings: &mut Findings) -> (NameClasses, Vec<Option<ClassId>>) {
    let mut names = NameClasses::new();
    for zone in &given.zones {
        if let Err(error) = names.add_zone(zone.get_ref()) {
            findings.add(zone.span(), error.what, "a domain name", error.hint);
        }
    }
    let mut rules: Vec<(&Spanned<String>, usize)> = Vec::new();
    for (class, patterns) in &given.names {
        let Some(class) = site.classes.find(class, findings) else { continue };
        for pattern in patterns {
            let (text, index) = (pattern.get_ref(), class.min(255));
            if let Some((_, other)) = rules.iter().find(|(known, _)| known.get_ref().eq_ignore_ascii_case(text)) {
                findings.add(
                    pattern.span(),
                    format!("\"{text}\" is there twice"),
                    format!("it is of class \"{}\"", site.classes.listed()[*other]),
                    "a name is of one class",
                );
            }
            rules.push((pattern, index));
        }
    }
    // The rule of most labels first, and of these the one of fewest stars.
    rules.sort_by_key(|(pattern, _)| {
        let text = pattern.get_ref();
        (
            std::cmp::Reverse(text.split('.').filter(|label| !matches!(*label, "" | "*")).count()),
            text.matches('*').count(),
        )
    });
    for (pattern, class) in &rules {
        // Classes of a scenario may be called as no rule can call them; a number always can.
        if let Err(error) = names.add_rule(&format!("{}=class-{class}", pattern.get_ref())) {
            let allowed = "a name such as video.cdn.example, or *.video.cdn.example for those below it";
            findings.add(pattern.span(), error.what, allowed, error.hint);
        }
    }
    if given.names.is_empty() && site.topology.classes.len() > 1 {
        findings.add(
            given.vantage.span(),
            "[dns] does not say which names are of which class",
            "[dns.names] is needed where there are several classes",
            "add `[dns.names]` with `video = [\"video.cdn.example\"]`, for a class named video",
        );
    }
    // Where there is one class, names that no rule fits are of it.
    let only = (site.topology.classes.len() == 1).then(|| ClassId::at(0));
    let class_of = names
        .classes()
        .iter()
        .enumerate()
        .map(|(number, name)| match number {
            0 => None,
            1 => only,
            _ => name.strip_prefix("class-").and_then(|index| index.parse().ok()).map(ClassId::at),
        })
        .collect();
    (names, class_of)
}

fn check_whereabouts(section: &Spanned<DnsSpec>, site: &Site, folder: &Path, findings: &mut Findings) -> Whereabouts {
    let only = site.topology.regions.len() == 1;
    let mut found = Whereabouts::default();
    let Some(geography) = &section.get_ref().geography else {
        if only {
            found.fallback = Fallback::Region(RegionId::at(0));
        } else {
            findings.add(
                section.span(),
                "[dns] does not say where clients are",
                "[dns.geography] is needed where there are several regions",
                "add `[dns.geography]` with `prefixes = \"networks.csv\"` or `database = \"….mmdb\"`",
            );
        }
        return found;
    };
    let given: &GeographySpec = geography.get_ref();
    for (key, file, place) in
        [("prefixes", &given.prefixes, &mut found.prefixes), ("database", &given.database, &mut found.database)]
    {
        let Some(file) = file else { continue };
        let path = folder.join(file.get_ref());
        findings.require(
            path.is_file(),
            file.span(),
            || format!("`{key}` names a file that is not there: {}", path.display()),
            "taken from this file's folder unless absolute",
            if key == "prefixes" {
                "a CSV file with the columns prefix,region"
            } else {
                "a database in MMDB format, such as DB-IP's or MaxMind's"
            },
        );
        *place = Some(path);
    }
    for (codes, what, into) in
        [(&given.countries, "country", &mut found.countries), (&given.continents, "continent", &mut found.continents)]
    {
        for (code, region) in codes {
            let known = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"];
            let upper = code.get_ref().to_ascii_uppercase();
            let is_code = upper.len() == 2 && upper.bytes().all(|c| c.is_ascii_uppercase());
            findings.require(
                is_code && (what == "country" || known.contains(&upper.as_str())),
                code.span(),
                || format!("\"{}\" is no code of a {what}", code.get_ref()),
                if what == "country" { "two letters (ISO 3166-1), such as DE" } else { "AF, AN, AS, EU, NA, OC or SA" },
                "write it in capitals",
            );
            if let Some(region) = site.regions.find(region, findings) {
                into.insert(upper, RegionId::at(region.min(usize::from(u16::MAX))));
            }
            if given.database.is_none() {
                findings.add(
                    code.span(),
                    format!("regions of a {what} without `database`"),
                    "the database tells countries and continents",
                    "add `database = \"….mmdb\"`",
                );
            }
        }
    }
    found.fallback = match given.fallback.as_ref().map(|text| (text, text.get_ref().as_str())) {
        None if only => Fallback::Region(RegionId::at(0)),
        None | Some((_, "drop")) => Fallback::Drop,
        Some((_, "spread")) => Fallback::Spread,
        Some((text, name)) => match site.regions.get(name) {
            Some(region) => Fallback::Region(RegionId::at(region.min(usize::from(u16::MAX)))),
            None => {
                let words: Vec<&str> =
                    ["drop", "spread"].into_iter().chain(site.regions.listed().iter().map(String::as_str)).collect();
                unknown_word("fallback", text, &words, findings);
                Fallback::Drop
            }
        },
    };
    if given.prefixes.is_none() && given.database.is_none() && found.fallback == Fallback::Drop {
        findings.add(
            geography.span(),
            "[dns.geography] locates nobody",
            "`prefixes`, `database`, or a `fallback` other than drop",
            "add `prefixes = \"networks.csv\"`, a file with the columns prefix,region",
        );
    }
    found
}
