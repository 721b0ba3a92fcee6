//! The HTTP API itself (doc.powerdns.com/authoritative/http-api).

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::SteeringError;
use super::super::dns_name::DnsName;
use super::super::record_set::{Change, Kind, RecordSet};
use super::super::secret::Secret;
use super::Sets;

/// Largest answer that is read: a zone of some 100,000 records.
const CONTENT_MOST: u64 = 64 * 1024 * 1024;

/// One zone of one server.
pub(super) struct Api {
    agent: ureq::Agent,
    base: String,
    key: Secret,
    zone: DnsName,
}

impl Api {
    pub(super) fn new(url: &str, key: Secret, zone: &DnsName, timeout: Duration) -> Result<Api, SteeringError> {
        let base = url.trim_end_matches('/').to_owned();
        let rest = base.strip_prefix("http://").or_else(|| base.strip_prefix("https://"));
        if !rest
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()) && !rest.contains('@'))
        {
            let what =
                "the address of an API; allowed: http://HOST:PORT or https://HOST:PORT, without a name or key in it";
            return Err(SteeringError::Contradiction { what: what.to_owned() });
        }
        let config = ureq::config::Config::builder()
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .http_status_as_error(false)
            .max_idle_connections(1)
            .user_agent(concat!("forebay/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Api { agent: config.new_agent(), base, key, zone: zone.clone() })
    }

    pub(super) fn endpoint(&self) -> String {
        self.base.clone()
    }

    /// A setting of the server.
    pub(super) fn setting(&self, name: &str) -> Result<Option<String>, SteeringError> {
        let (status, body) = self.call("GET", "/config", None)?;
        let settings = self.expect(status, &body, "its settings")?;
        let known = settings.as_array().into_iter().flatten().find(|setting| setting["name"] == name);
        Ok(known.and_then(|setting| Some(setting["value"].as_str()?.to_owned())))
    }

    /// All sets of the zone that steering may have to do with.
    pub(super) fn zone(&self) -> Result<Sets, SteeringError> {
        let (status, body) = self.call("GET", &format!("/zones/{}", self.zone.absolute()), None)?;
        let what = format!("zone {}", self.zone);
        if status == 404 {
            return Err(self.unknown_zone()?);
        }
        let zone = self.expect(status, &body, &what)?;
        let mut sets = BTreeMap::new();
        for set in zone["rrsets"].as_array().into_iter().flatten() {
            let kind = set["type"].as_str().and_then(Kind::parse);
            let owner = set["name"].as_str().and_then(|name| name.parse::<DnsName>().ok());
            let (Some(kind), Some(owner)) = (kind, owner) else { continue };
            let ttl_seconds = set["ttl"].as_u64().and_then(|ttl| u32::try_from(ttl).ok()).unwrap_or(0);
            let records = set["records"].as_array().into_iter().flatten();
            // One that is disabled is not answered.
            let records = records.filter(|record| record["disabled"] != Value::Bool(true));
            let records = records.filter_map(|record| record["content"].as_str()).map(|content| read(kind, content));
            let set = RecordSet::new(&owner, kind, ttl_seconds, records);
            if !set.records.is_empty() {
                sets.insert((owner, kind), set);
            }
        }
        Ok(sets)
    }

    /// Changes sets in one transaction.
    pub(super) fn patch(&self, change: &Change) -> Result<(), SteeringError> {
        let sets: Vec<Value> = change.sets.iter().map(rrset).collect();
        let body = json!({ "rrsets": sets }).to_string();
        let (status, answer) = self.call("PATCH", &format!("/zones/{}", self.zone.absolute()), Some(&body))?;
        match status {
            200 | 204 => Ok(()),
            404 => Err(self.unknown_zone()?),
            _ => self.expect(status, &answer, &change.what).map(|_| ()),
        }
    }

    fn unknown_zone(&self) -> Result<SteeringError, SteeringError> {
        let (status, body) = self.call("GET", "/zones", None)?;
        let zones = self.expect(status, &body, "its zones")?;
        let names = zones.as_array().into_iter().flatten().filter_map(|zone| zone["name"].as_str());
        let known = names.take(20).map(|name| name.trim_end_matches('.').to_owned()).collect();
        Ok(SteeringError::Unknown { place: self.endpoint(), kind: "zone", name: self.zone.to_string(), known })
    }

    fn call(&self, method: &str, path: &str, body: Option<&str>) -> Result<(u16, Vec<u8>), SteeringError> {
        let url = format!("{}/api/v1/servers/localhost{path}", self.base);
        let unreachable = |error: ureq::Error| {
            let why = match &error {
                ureq::Error::Timeout(_) => "no whole answer in time".to_owned(),
                ureq::Error::Io(error) => error.to_string(),
                other => other.to_string(),
            };
            SteeringError::Unreachable { endpoint: self.endpoint(), why }
        };
        let key = self.key.expose();
        let mut response = match body {
            None => self.agent.get(&url).header("X-API-Key", key).call(),
            Some(body) if method == "PATCH" => {
                self.agent.patch(&url).header("X-API-Key", key).content_type("application/json").send(body)
            }
            Some(_) => unreachable!("only PATCH has a body"),
        }
        .map_err(unreachable)?;
        let mut content = Vec::new();
        let mut reader = response.body_mut().as_reader().take(CONTENT_MOST + 1);
        reader.read_to_end(&mut content).map_err(|error| unreachable(ureq::Error::from(error)))?;
        if content.len() as u64 > CONTENT_MOST {
            return Err(self.rejected(path, &format!("an answer of more than {CONTENT_MOST} bytes")));
        }
        Ok((response.status().as_u16(), content))
    }

    /// The content of an answer that says yes.
    fn expect(&self, status: u16, body: &[u8], what: &str) -> Result<Value, SteeringError> {
        let content: Result<Value, _> = serde_json::from_slice(body);
        match (status, content) {
            (200 | 201, Ok(content)) => Ok(content),
            (200 | 201, Err(_)) => Err(self.rejected(what, "an answer that is no JSON; is this PowerDNS's API?")),
            (401 | 403, _) => Err(SteeringError::Credentials {
                endpoint: self.endpoint(),
                why: format!("{status}: it does not accept the key"),
                hint: "api-key of pdns.conf; and webserver-allow-from must name our address",
            }),
            (status, content) => {
                let said = content.ok().and_then(|content| Some(content["error"].as_str()?.to_owned()));
                let said = said.unwrap_or_else(|| "without a reason".to_owned());
                Err(self.rejected(what, &format!("{status}: {}", said.replace(self.key.expose(), "…"))))
            }
        }
    }

    fn rejected(&self, what: &str, why: &str) -> SteeringError {
        SteeringError::Rejected { endpoint: self.endpoint(), what: what.to_owned(), why: why.to_owned() }
    }
}

fn rrset(set: &RecordSet) -> Value {
    let name = set.owner.absolute();
    if set.records.is_empty() {
        return json!({ "name": name, "type": set.kind.name(), "changetype": "DELETE" });
    }
    let records: Vec<Value> =
        set.records.iter().map(|text| json!({ "content": written(set.kind, text), "disabled": false })).collect();
    json!({ "name": name, "type": set.kind.name(), "ttl": set.ttl_seconds, "changetype": "REPLACE", "records": records })
}

/// A text as its content: in strings of 255 characters. Ours hold neither quotes nor backslashes.
fn written(kind: Kind, text: &str) -> String {
    if kind != Kind::Txt {
        return text.to_owned();
    }
    let strings = text.as_bytes().chunks(255).map(|part| format!("\"{}\"", String::from_utf8_lossy(part)));
    strings.collect::<Vec<_>>().join(" ")
}

/// A content as its text.
fn read(kind: Kind, content: &str) -> String {
    match kind {
        Kind::Txt => content.split("\" \"").collect::<String>().trim_matches('"').to_owned(),
        // However an address is written.
        Kind::A | Kind::Aaaa => {
            content.parse::<std::net::IpAddr>().map_or_else(|_| content.to_owned(), |address| address.to_string())
        }
        _ => content.to_owned(),
    }
}
