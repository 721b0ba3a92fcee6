//! TLS for `ssl:` endpoints: whom we trust, who we are, and why a handshake failed, in words.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};

use super::endpoint::{Endpoint, PeerName, TlsFiles};
use super::error::OvsdbError;

/// A connection that has not shaken hands yet.
pub(super) fn client(endpoint: &Endpoint, host: &str, files: &TlsFiles) -> Result<ClientConnection, OvsdbError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.ca)? {
        roots.add(authority).map_err(|error| unusable(&files.ca, error.to_string(), CERTIFICATE))?;
    }
    let roots = Arc::new(roots);
    let verifier: Arc<dyn ServerCertVerifier> = match files.peer {
        PeerName::Anybody => {
            Arc::new(AnybodyOfAuthority { roots, algorithms: provider.signature_verification_algorithms })
        }
        PeerName::Host | PeerName::Named(_) => {
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| unusable(&files.ca, error.to_string(), CERTIFICATE))?
        }
    };
    let own = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key)
        .map_err(|error| unusable(&files.private_key, in_words(&error, "no private key is in it"), KEY))?;
    let config = versions(provider)
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(own, key)
        .map_err(|error| {
            let what = match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!("not the key of the certificate in {}", files.certificate.display())
                }
                other => other.to_string(),
            };
            unusable(&files.private_key, what, KEY)
        })?;
    let name = match &files.peer {
        PeerName::Named(name) => name.as_str(),
        PeerName::Host | PeerName::Anybody => host,
    };
    let name =
        ServerName::try_from(name.split('%').next().unwrap_or(name).to_owned()).map_err(|_| OvsdbError::Untrusted {
            endpoint: endpoint.to_string(),
            what: format!("\"{}\" is no name that a certificate can have", crate::error::shown(name.as_bytes())),
            hint: "give the name or the address that the server's certificate has",
        })?;
    ClientConnection::new(Arc::new(config), name).map_err(|error| unusable(&files.ca, error.to_string(), CERTIFICATE))
}

fn versions(provider: Arc<CryptoProvider>) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    // The provider is ring's own, which has suites for both.
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
}

const CERTIFICATE: &str = "a PEM file of one or more certificates";
const KEY: &str = "a PEM file with the private key of our certificate, not encrypted";

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OvsdbError> {
    let refuse = |error: pem::Error| unusable(path, in_words(&error, "no certificate is in it"), CERTIFICATE);
    let found = CertificateDer::pem_file_iter(path).map_err(refuse)?.collect::<Result<Vec<_>, _>>().map_err(refuse)?;
    if found.is_empty() {
        return Err(refuse(pem::Error::NoItemsFound));
    }
    for certificate in &found {
        ParsedCertificate::try_from(certificate)
            .map_err(|error| unusable(path, format!("not a certificate that can be used: {error}"), CERTIFICATE))?;
    }
    Ok(found)
}

fn unusable(path: &Path, what: String, allowed: &'static str) -> OvsdbError {
    OvsdbError::TlsFile { path: path.to_owned(), what, allowed }
}

fn in_words(error: &pem::Error, nothing: &str) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => nothing.to_owned(),
        other => format!("no PEM: {other}"),
    }
}

/// Shakes hands. `wait` is asked to wait until the socket can be read or written, and says no when it is too late.
pub(super) fn handshake(
    tls: &mut ClientConnection,
    socket: &mut TcpStream,
    mut wait: impl FnMut(&TcpStream, bool, bool) -> io::Result<bool>,
) -> io::Result<()> {
    while tls.is_handshaking() {
        match tls.complete_io(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !wait(socket, tls.wants_read(), tls.wants_write())? {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake in time"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Why there is no trust, if that is what an error of the stream says, and what may help.
pub(super) fn distrust(error: &io::Error) -> Option<(String, &'static str)> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(why) => {
            let what = match why {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "no authority of the CA file vouches for the server's certificate".to_owned()
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!("the server's certificate names another host: {why}")
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "the server's certificate has expired".to_owned()
                }
                other => format!("the server's certificate cannot be trusted: {other}"),
            };
            let hint = match why {
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "connect by the name that the certificate has, or say which name it should have"
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "renew it, or set the clock right"
                }
                _ => "the CA file has to be that of the authority that signed the server's certificate",
            };
            (what, hint)
        }
        rustls::Error::AlertReceived(alert) => {
            let what = match alert {
                AlertDescription::UnknownCA => "the server does not know the authority of our certificate".to_owned(),
                AlertDescription::CertificateExpired => "the server says that our certificate has expired".to_owned(),
                other => format!("the server refuses: {other:?}"),
            };
            (what, "the server's --ca-cert has to be that of the authority that signed our certificate")
        }
        rustls::Error::InvalidMessage(_) => ("the server does not speak TLS".to_owned(), "is it a tcp: port?"),
        other => (other.to_string(), "the two sides have to agree on how to speak TLS"),
    })
}

/// Trusts whomever an authority vouches for, whatever the name.
#[derive(Debug)]
struct AnybodyOfAuthority {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnybodyOfAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
