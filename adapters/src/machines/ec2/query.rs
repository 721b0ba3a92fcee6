//! EC2's query interface: a form that is posted, signed, and an answer in XML (Amazon EC2 API Reference).

use std::time::Duration;

use forebay_world::VmId;
use ureq::Agent;
use ureq::config::Config;

use super::reply::Element;
use super::signature::CONTENT_TYPE;
use super::{Ec2Region, MachineError};

/// The edition of the interface that is spoken.
const VERSION: &str = "2016-11-15";
/// Longest answer that is read [bytes].
const ANSWER_BYTES_MOST: u64 = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one region.
#[derive(Debug)]
pub(super) struct Query {
    agent: Agent,
    region: Ec2Region,
    host: String,
}

impl Query {
    pub(super) fn new(region: Ec2Region) -> Result<Query, MachineError> {
        let endpoint = region.endpoint.trim_end_matches('/').to_owned();
        let unsupported = |allowed| MachineError::Unsupported {
            endpoint: endpoint.clone(),
            what: "this address of a provider".to_owned(),
            allowed,
        };
        let (scheme, host) = endpoint.split_once("://").ok_or_else(|| unsupported("https://HOST"))?;
        let host = host.to_owned();
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
        let is_loopback = matches!(name, "127.0.0.1" | "localhost" | "[::1]");
        // What machines are configured with may hold keys.
        if host.contains(['/', '@', '?', '#']) || !(scheme == "https" || scheme == "http" && is_loopback) {
            return Err(unsupported("https://HOST, and http:// on loopback"));
        }
        let config = Config::builder()
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("forebay/", env!("CARGO_PKG_VERSION")))
            .build();
        let region = Ec2Region { endpoint, ..region };
        Ok(Query { agent: config.new_agent(), region, host })
    }

    /// Asks what there is. `vm` is the machine for which it is asked, where there is one.
    pub(super) fn describe(
        &self,
        action: &'static str,
        parameters: &[(String, String)],
        vm: VmId,
    ) -> Result<Element, MachineError> {
        assert!(action.starts_with("Describe"), "{action} may change something");
        self.ask(action, parameters, vm)
    }

    /// Asks. `vm` is the machine for which it is asked, where there is one.
    pub(super) fn ask(&self, action: &str, parameters: &[(String, String)], vm: VmId) -> Result<Element, MachineError> {
        let all = [("Action".to_owned(), action.to_owned()), ("Version".to_owned(), VERSION.to_owned())];
        let body: Vec<String> =
            all.iter().chain(parameters).map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect();
        let body = body.join("&");
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let headers = self.region.credentials.headers(&self.host, &self.region.region, "ec2", &time, &body);
        let mut request = self.agent.post(format!("{}/", self.region.endpoint));
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        debug_assert!(headers.iter().any(|(_, value)| value == CONTENT_TYPE));
        let unreachable = |why: String| MachineError::Unreachable { endpoint: self.region.endpoint.clone(), why };
        let mut response = request.send(body).map_err(|error| unreachable(error.to_string()))?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MOST).read_to_string();
        let text = text.map_err(|error| unreachable(error.to_string()))?;
        let reply = Element::read(&text);
        match reply {
            Ok(reply) if status == 200 => Ok(reply),
            Ok(reply) => Err(self.refused(action, status, &reply, vm)),
            Err(_) if status == 503 || status == 429 => Err(MachineError::Throttled {
                endpoint: self.region.endpoint.clone(),
                what: action.to_owned(),
                why: format!("HTTP {status}"),
            }),
            Err(error) => Err(unreachable(format!("HTTP {status}, and no answer that makes sense: {error}"))),
        }
    }

    fn refused(&self, action: &str, status: u16, reply: &Element, vm: VmId) -> MachineError {
        let error = reply.at("Errors/Error").or_else(|| reply.at("Error"));
        let text = |name| error.and_then(|error| error.text_at(name)).unwrap_or_default();
        let (code, message) = (text("Code"), text("Message"));
        let (endpoint, what) = (self.region.endpoint.clone(), action.to_owned());
        let why = if code.is_empty() { format!("HTTP {status}") } else { format!("{code}: {message}") };
        let missing =
            |kind, hint| MachineError::Missing { endpoint: endpoint.clone(), kind, name: message.to_owned(), hint };
        match code {
            "UnauthorizedOperation"
            | "AuthFailure"
            | "InvalidClientTokenId"
            | "SignatureDoesNotMatch"
            | "RequestExpired"
            | "ExpiredToken"
            | "OptInRequired"
            | "Blocked"
            | "PendingVerification"
            | "MissingAuthenticationToken" => MachineError::Denied { endpoint, what, why },
            "InstanceLimitExceeded"
            | "VcpuLimitExceeded"
            | "InsufficientInstanceCapacity"
            | "InsufficientHostCapacity"
            | "InsufficientCapacity"
            | "MaxSpotInstanceCountExceeded"
            | "InsufficientFreeAddressesInSubnet"
            // Of an instance that is shutting down, as a rule.
            | "InvalidIPAddress.InUse"
            | "ResourceLimitExceeded" => MachineError::Quota { endpoint, vm, why },
            "RequestLimitExceeded"
            | "Throttling"
            | "ThrottlingException"
            | "RequestThrottled"
            | "EC2ThrottledException" => MachineError::Throttled { endpoint, what, why },
            "InvalidAMIID.NotFound" | "InvalidAMIID.Malformed" | "InvalidAMIID.Unavailable" => {
                missing("image", "images are named in the configuration of flavours, and are a region's own")
            }
            "InvalidSubnetID.NotFound" | "InvalidSubnet" => missing("network", "see the region's subnet"),
            "InvalidInstanceType" => missing("kind of machine", "see the flavour's kind"),
            "InternalError" | "ServiceUnavailable" | "Unavailable" => MachineError::Unreachable { endpoint, why },
            _ => MachineError::Rejected { endpoint, what, why },
        }
    }
}

/// As a form writes it (RFC 3986, unreserved characters as they are).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}
