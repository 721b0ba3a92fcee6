//! Where a listener listens: a unix socket or a TCP port, and how each is opened, accepted from and left behind.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Where senders connect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenAddress {
    /// A unix socket, `unix:/run/forebay/dnstap.sock`.
    Unix(PathBuf),
    /// A TCP port, `tcp:127.0.0.1:6000`. Whoever reaches it may send: keep it on an internal network.
    Tcp(SocketAddr),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            ListenAddress::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<ListenAddress, ListenError> {
        let refuse = || ListenError::NotAnAddress(text.to_owned());
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(ListenAddress::Unix(path.into())),
            Some(("tcp", address)) => address.parse().map(ListenAddress::Tcp).map_err(|_| refuse()),
            _ => Err(refuse()),
        }
    }
}

/// An address that cannot be listened at.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A text that is no address.
    #[error("\"{0}\" is no address to listen at; allowed: unix:/path/of/socket or tcp:127.0.0.1:6000")]
    NotAnAddress(String),
    /// Another program listens there.
    #[error("{address}: another program listens there; allowed: an address of our own")]
    InUse {
        /// The address.
        address: ListenAddress,
    },
    /// A file stands in the way that is no socket; it is left alone.
    #[error("{}: a file that is no socket stands there; allowed: a path without a file", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{address}: cannot be listened at: {source}")]
    Unusable {
        /// The address.
        address: ListenAddress,
        /// Why.
        source: io::Error,
    },
}

impl ListenError {
    /// What may help.
    pub fn hint(&self) -> &'static str {
        match self {
            ListenError::NotAnAddress(_) => "the server's dnstap sink must name the same address",
            ListenError::InUse { .. } => "is forebay running already, or a collector such as fstrm_capture?",
            ListenError::NotASocket { .. } => "name another path, or move the file away",
            ListenError::Unusable { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "make the folder first",
                io::ErrorKind::PermissionDenied => "the user needs write permission for the folder",
                io::ErrorKind::InvalidInput => "the path of a unix socket has at most 107 bytes",
                io::ErrorKind::AddrNotAvailable => "this machine does not have the address",
                _ => "the operating system gave this reason",
            },
        }
    }
}

/// An open socket that is listened at.
pub(super) struct Socket {
    pub(super) address: ListenAddress,
    listener: Listener,
    /// Device and inode of the socket file.
    file: Option<(u64, u64)>,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Socket {
    pub(super) fn bind(address: &ListenAddress, mode: u32) -> Result<Socket, ListenError> {
        let unusable = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { address: address.clone() },
            _ => ListenError::Unusable { address: address.clone(), source },
        };
        match address {
            ListenAddress::Tcp(tcp) => {
                let listener = TcpListener::bind(tcp).map_err(unusable)?;
                listener.set_nonblocking(true).map_err(unusable)?;
                let address = ListenAddress::Tcp(listener.local_addr().map_err(unusable)?);
                Ok(Socket { address, listener: Listener::Tcp(listener), file: None })
            }
            ListenAddress::Unix(path) => {
                check_place(path, address)?;
                let listener = bind_unix(path, mode).map_err(unusable)?;
                listener.set_nonblocking(true).map_err(unusable)?;
                let file = fs::symlink_metadata(path).map_err(unusable)?;
                let file = Some((file.dev(), file.ino()));
                Ok(Socket { address: address.clone(), listener: Listener::Unix(listener), file })
            }
        }
    }

    /// The next connection and who it is from; [`io::ErrorKind::WouldBlock`] when there is none.
    pub(super) fn accept(&self) -> io::Result<(Stream, String)> {
        match &self.listener {
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                Ok((Stream::Unix(stream), self.address.to_string()))
            }
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(false)?;
                Ok((Stream::Tcp(stream), format!("tcp:{}", peer.ip())))
            }
        }
    }

    /// Takes the socket's file away, unless it is another's by now.
    pub(super) fn close(&self) {
        if let ListenAddress::Unix(path) = &self.address
            && let Ok(file) = fs::symlink_metadata(path)
            && self.file == Some((file.dev(), file.ino()))
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether a socket may be made at a path: nothing is there, or a socket that nobody listens to.
fn check_place(path: &Path, address: &ListenAddress) -> Result<(), ListenError> {
    let Ok(file) = fs::symlink_metadata(path) else { return Ok(()) };
    if !file.file_type().is_socket() {
        return Err(ListenError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // Gone in between.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ListenError::Unusable { address: address.clone(), source }),
        Ok(_) => Err(ListenError::InUse { address: address.clone() }),
    }
}

/// Makes the socket in a folder of our own and moves it to its place when its permissions are set: at no time may
/// others connect, and a socket left behind is replaced at once.
fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let folder = parent.join(format!(".fb{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&folder)?;
    let made = folder.join("s");
    let listener = UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, Permissions::from_mode(mode))?;
        fs::rename(&made, path)?;
        Ok(listener)
    });
    let _ = fs::remove_file(&made);
    let _ = fs::remove_dir(&folder);
    listener
}

/// A connection of either kind.
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    pub(super) fn set_timeouts(&self, read: Duration, write: Duration) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(read)).and_then(|()| stream.set_write_timeout(Some(write)))
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(read)).and_then(|()| stream.set_write_timeout(Some(write)))
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(buffer),
            Stream::Tcp(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => stream.flush(),
            Stream::Tcp(stream) => stream.flush(),
        }
    }
}
