//! Endpoints: where a server listens, as Open vSwitch writes it (ovsdb(7), "Connection Methods").

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket, `unix:/run/openvswitch/db.sock`.
    Unix(PathBuf),
    /// A TCP port, `tcp:192.0.2.1:6640`. Whoever is on the way may read and write along.
    Tcp {
        /// A name or an address; IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// TLS over TCP, `ssl:ovn-nb.example.net:6641`.
    Ssl {
        /// A name or an address; IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Who is trusted, and who we are.
        tls: TlsFiles,
    },
}

/// The files of a TLS connection, all PEM. Both sides prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities that may vouch for the server.
    pub ca: PathBuf,
    /// Our certificate, followed by those that lead to an authority that the server trusts, if any.
    pub certificate: PathBuf,
    /// Our certificate's private key (PKCS #8, PKCS #1 or SEC 1), not encrypted.
    pub private_key: PathBuf,
    /// Whom the server's certificate has to name.
    pub peer: PeerName,
}

/// Whom a server's certificate has to name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PeerName {
    /// The host of the endpoint.
    #[default]
    Host,
    /// Another name or address.
    Named(String),
    /// Anybody for whom the authority vouches, which is all that Open vSwitch's own programs ask. Only with an authority
    /// that certifies nobody but such servers.
    Anybody,
}

impl TlsFiles {
    /// The files, for a server whose certificate names the host of the endpoint.
    pub fn new(ca: impl Into<PathBuf>, certificate: impl Into<PathBuf>, private_key: impl Into<PathBuf>) -> TlsFiles {
        let (ca, certificate, private_key) = (ca.into(), certificate.into(), private_key.into());
        TlsFiles { ca, certificate, private_key, peer: PeerName::Host }
    }
}

/// A text that is no endpoint. `Display` says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Another scheme, or none.
    #[error("\"{text}\" is no address of an OVSDB server; allowed: {ALLOWED}")]
    Scheme {
        /// The text.
        text: String,
    },
    /// No path after `unix:`.
    #[error("\"{text}\" names no socket; allowed: unix:/path/of/socket")]
    NoPath {
        /// The text.
        text: String,
    },
    /// No host and port after `tcp:` or `ssl:`.
    #[error("\"{text}\" does not name a host and a port from 1 to 65535; allowed: {ALLOWED}")]
    HostAndPort {
        /// The text.
        text: String,
    },
    /// `ssl:` without files.
    #[error("\"{text}\" needs the files of a CA certificate, a certificate and a private key")]
    NoFiles {
        /// The text.
        text: String,
    },
}

const ALLOWED: &str = "unix:/path/of/socket, tcp:HOST:PORT or ssl:HOST:PORT, IPv6 addresses in brackets";

impl EndpointError {
    /// What may help.
    pub fn hint(&self) -> &'static str {
        match self {
            EndpointError::Scheme { text } => match text.split(':').next() {
                Some("ptcp" | "pssl" | "punix") => {
                    "that is how a server is told to listen; a client's has no p: unix:, tcp: or ssl:"
                }
                Some("tls" | "https") => "Open vSwitch's word for TLS is ssl:",
                _ if text.starts_with('/') => "a path wants unix: before it",
                _ => "`ovs-vsctl get-manager` and the server's --remote options say where it listens",
            },
            EndpointError::NoPath { .. } => "Open vSwitch's own socket is /var/run/openvswitch/db.sock",
            EndpointError::HostAndPort { .. } => {
                "the usual ports are 6640 (Open vSwitch), 6641 and 6642 (OVN northbound and southbound)"
            }
            EndpointError::NoFiles { .. } => "`ovs-pki` makes them; or use a unix socket",
        }
    }
}

impl Endpoint {
    /// Reads an endpoint; the files are for `ssl:` and left alone otherwise.
    ///
    /// # Errors
    /// [`EndpointError`]
    pub fn parse(text: &str, tls: Option<TlsFiles>) -> Result<Endpoint, EndpointError> {
        let shown = || crate::error::shown(text.as_bytes());
        match text.split_once(':') {
            Some(("unix", "")) => Err(EndpointError::NoPath { text: shown() }),
            Some(("unix", path)) => Ok(Endpoint::Unix(path.into())),
            Some((scheme @ ("tcp" | "ssl"), rest)) => {
                let (host, port) = host_and_port(rest).ok_or_else(|| EndpointError::HostAndPort { text: shown() })?;
                match scheme {
                    "tcp" => Ok(Endpoint::Tcp { host, port }),
                    _ => match tls {
                        Some(tls) => Ok(Endpoint::Ssl { host, port, tls }),
                        None => Err(EndpointError::NoFiles { text: shown() }),
                    },
                }
            }
            _ => Err(EndpointError::Scheme { text: shown() }),
        }
    }
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|&port| port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            let address = rest.strip_suffix(']')?;
            // A zone may follow, as in fe80::1%eth0.
            address.split('%').next()?.parse::<Ipv6Addr>().ok()?;
            address
        }
        None => host,
    };
    let named = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || "/[]@".contains(c));
    (named && (text.starts_with('[') || !host.contains(':'))).then(|| (host.to_owned(), port))
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads `unix:` and `tcp:`; `ssl:` needs files ([`Endpoint::parse`]).
    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse(text, None)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Endpoint::Unix(path) => return write!(f, "unix:{}", path.display()),
            Endpoint::Tcp { host, port } => ("tcp", host, port),
            Endpoint::Ssl { host, port, .. } => ("ssl", host, port),
        };
        match host.contains(':') {
            true => write!(f, "{scheme}:[{host}]:{port}"),
            false => write!(f, "{scheme}:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written() {
        let files = TlsFiles::new("ca.pem", "cert.pem", "key.pem");
        for text in [
            "unix:/run/openvswitch/db.sock",
            "unix:db.sock",
            "unix:a:b",
            "tcp:127.0.0.1:6640",
            "tcp:[::1]:6640",
            "tcp:[fe80::1%eth0]:6640",
            "tcp:host.example.net:65535",
            "ssl:[2001:db8::1]:6641",
            "ssl:host:1",
        ] {
            assert_eq!(Endpoint::parse(text, Some(files.clone())).unwrap().to_string(), text);
        }
        let host = |text: &str| match text.parse() {
            Ok(Endpoint::Tcp { host, .. }) => host,
            other => panic!("{other:?}"),
        };
        assert_eq!(host("tcp:[::1]:6640"), "::1");
    }

    #[test]
    fn what_is_no_endpoint_says_what_is_allowed() {
        for (text, says, hints) in [
            ("", "no address of an OVSDB server", "--remote"),
            ("/run/db.sock", "no address", "wants unix:"),
            ("ptcp:6640", "no address", "has no p"),
            ("http://x", "allowed: unix:/path/of/socket", "get-manager"),
            ("tls:a:1", "no address", "ssl:"),
            ("unix:", "names no socket", "db.sock"),
            ("tcp:6640", "a host and a port", "6640"),
            ("tcp:host", "a host and a port", "6640"),
            ("tcp:host:0", "a port from 1", "6640"),
            ("tcp:host:65536", "a port from 1", "6640"),
            ("tcp:::1:6640", "in brackets", "6640"),
            ("tcp:[::1:6640", "in brackets", "6640"),
            ("tcp:[name]:6640", "in brackets", "6640"),
            ("tcp::6640", "a host", "6640"),
            ("tcp:a b:6640", "a host", "6640"),
            ("ssl:host:6640", "needs the files", "ovs-pki"),
        ] {
            let error = Endpoint::from_str(text).unwrap_err();
            assert!(error.to_string().contains(says), "{text}: {error}");
            assert!(error.hint().contains(hints), "{text}: {}", error.hint());
        }
    }
}
