//! The stream of bytes to a server: a unix socket, TCP, or TLS over it, never waited for beyond a deadline.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::endpoint::Endpoint;
use super::error::OvsdbError;

/// An open connection. The socket does not block; waiting is done here, with a deadline.
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<rustls::ClientConnection>, TcpStream),
}

impl Stream {
    /// Connects.
    ///
    /// # Errors
    /// [`OvsdbError::Unreachable`], and for TLS [`OvsdbError::TlsFile`] and [`OvsdbError::Untrusted`].
    pub(super) fn connect(endpoint: &Endpoint, deadline: Instant) -> Result<Stream, OvsdbError> {
        let unreachable = |source| OvsdbError::Unreachable { endpoint: endpoint.to_string(), source };
        match endpoint {
            Endpoint::Unix(path) => connect_unix(path, deadline).map(Stream::Unix).map_err(unreachable),
            Endpoint::Tcp { host, port } => connect_tcp(host, *port, deadline).map(Stream::Tcp).map_err(unreachable),
            #[cfg(feature = "tls")]
            Endpoint::Ssl { host, port, tls } => {
                let mut client = super::tls::client(endpoint, host, tls)?;
                let mut socket = connect_tcp(host, *port, deadline).map_err(unreachable)?;
                super::tls::handshake(&mut client, &mut socket, |socket, read, write| {
                    ready(socket.as_fd(), read, write, deadline).map(|flags| !flags.is_empty())
                })
                .map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                        OvsdbError::Untrusted {
                            endpoint: endpoint.to_string(),
                            what: "the server hung up before either side had proved anything".to_owned(),
                            hint: "is it a tcp: port?",
                        }
                    }
                    _ => untrusted_or(endpoint, error, unreachable),
                })?;
                Ok(Stream::Tls(Box::new(client), socket))
            }
            #[cfg(not(feature = "tls"))]
            Endpoint::Ssl { .. } => Err(OvsdbError::Untrusted {
                endpoint: endpoint.to_string(),
                what: "this program was built without TLS".to_owned(),
                hint: "build it with the feature tls, or use a unix socket",
            }),
        }
    }

    /// Reads what is there, waiting for it until the deadline; `None` when nothing came, 0 bytes at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<Option<usize>> {
        loop {
            match self.try_read(buffer) {
                Ok(read) => return Ok(Some(read)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.ready(true, self.holds_back(), deadline)?.is_empty() {
                        return Ok(None);
                    }
                }
                // A peer that hangs up without TLS's goodbye.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(0)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes all bytes. A peer that waits until it is read from before it reads on is read from: `take` gets what comes
    /// in the meantime, and says whether it has room for more.
    pub(super) fn write_all(
        &mut self,
        mut bytes: &[u8],
        deadline: Instant,
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 0];
        let mut room = true;
        loop {
            let written = if bytes.is_empty() { self.try_flush().map(|()| 0) } else { self.try_write(bytes) };
            match written {
                Ok(0) if bytes.is_empty() => return Ok(()),
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let flags = self.ready(room, true, deadline)?;
            if flags.is_empty() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if room && flags.contains(PollFlags::IN) {
                buffer.resize(64 * 1024, 0);
                match self.try_read(&mut buffer) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => room = take(&buffer[..read]),
                    Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(socket) => socket.read(buffer),
            Stream::Tcp(socket) => socket.read(buffer),
            #[cfg(feature = "tls")]
            Stream::Tls(tls, socket) => rustls::Stream::new(&mut **tls, socket).read(buffer),
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(socket) => socket.write(bytes),
            Stream::Tcp(socket) => socket.write(bytes),
            #[cfg(feature = "tls")]
            Stream::Tls(tls, socket) => match rustls::Stream::new(&mut **tls, socket).write(bytes)? {
                // Its buffer is full, and the socket has not taken it.
                0 => Err(io::ErrorKind::WouldBlock.into()),
                written => Ok(written),
            },
        }
    }

    fn try_flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Unix(_) | Stream::Tcp(_) => Ok(()),
            #[cfg(feature = "tls")]
            Stream::Tls(tls, socket) => rustls::Stream::new(&mut **tls, socket).flush(),
        }
    }

    /// Whether bytes wait here to be written.
    fn holds_back(&self) -> bool {
        match self {
            Stream::Unix(_) | Stream::Tcp(_) => false,
            #[cfg(feature = "tls")]
            Stream::Tls(tls, _) => tls.wants_write(),
        }
    }

    fn ready(&self, read: bool, write: bool, deadline: Instant) -> io::Result<PollFlags> {
        let socket = match self {
            Stream::Unix(socket) => socket.as_fd(),
            Stream::Tcp(socket) => socket.as_fd(),
            #[cfg(feature = "tls")]
            Stream::Tls(_, socket) => socket.as_fd(),
        };
        ready(socket, read, write, deadline)
    }
}

/// Waits until a socket can be read or written; empty when it cannot before the deadline. An error of the socket counts
/// as both: reading or writing will tell it.
fn ready(socket: BorrowedFd<'_>, read: bool, write: bool, deadline: Instant) -> io::Result<PollFlags> {
    let mut wanted = PollFlags::empty();
    wanted.set(PollFlags::IN, read);
    wanted.set(PollFlags::OUT, write);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 });
        let mut polled = [PollFd::from_borrowed_fd(socket, wanted)];
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) => return Ok(PollFlags::empty()),
            Ok(_) => {
                let found = polled[0].revents();
                let broken = found.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
                return Ok(if broken { found | PollFlags::IN | PollFlags::OUT } else { found });
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Connects to a unix socket. The system's own way would wait for ever where the server does not accept.
fn connect_unix(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    loop {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match connect(&socket, &address) {
            Ok(()) => return Ok(UnixStream::from(socket)),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(rustix::io::Errno::AGAIN) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not accept connections"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Connects to the first address of a host that answers.
fn connect_tcp(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time"));
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The error of a secure connection: distrust, or what `otherwise` makes of it.
pub(super) fn untrusted_or(
    endpoint: &Endpoint,
    error: io::Error,
    otherwise: impl FnOnce(io::Error) -> OvsdbError,
) -> OvsdbError {
    #[cfg(feature = "tls")]
    if let Some((what, hint)) = super::tls::distrust(&error) {
        return OvsdbError::Untrusted { endpoint: endpoint.to_string(), what, hint };
    }
    let _ = endpoint;
    otherwise(error)
}
