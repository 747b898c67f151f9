//! The listener: a loopback address, or a Unix socket that only this user can open.

use std::fmt;
use std::fs::{Permissions, metadata, remove_file, rename, set_permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};

use token_broker_host::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::UCred;
use tokio::net::{TcpListener, UnixListener};

use crate::failure::Failed;

pub(crate) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, Socket),
}

/// A connection to a client.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    /// # Errors
    /// The address is taken, or is not a loopback address and remote clients are not allowed.
    pub(crate) async fn tcp(address: SocketAddr, allow_remote: bool) -> Result<Self, Failed> {
        if !address.ip().is_loopback() && !allow_remote {
            return Err(refused(
                format_args!(
                    "{address} is not a loopback address, and every client that reaches it gets tokens"
                ),
                "listen on 127.0.0.1, or add --allow-remote",
            ));
        }
        let taken = |error: io::Error| {
            refused(
                format_args!("cannot listen on {address}: {error}"),
                "name another address in --listen, port 0 for a free port",
            )
        };
        let listener = TcpListener::bind(address).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        Ok(Self::Tcp(listener, address))
    }

    /// A socket at a path. Replaces a socket without a listener.
    ///
    /// # Errors
    /// Another file or a listener is there, or this user may not create the socket.
    pub(crate) fn unix(path: &Path) -> Result<Self, Failed> {
        let failed =
            |why: &str, fix: &str| refused(format_args!("cannot listen on {}: {why}", path.display()), fix);
        let of_io = |error: io::Error| {
            failed(&error.to_string(), "name a path in --unix in a directory that this user can write to")
        };
        if let Ok(there) = metadata(path) {
            if !there.file_type().is_socket() {
                return Err(failed("a file is there", "use another path"));
            }
            match BlockingStream::connect(path) {
                Ok(_) => return Err(failed("another process listens there", "use another path")),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(of_io(error)),
            }
        }
        // Bound under a private name until its mode is set, then renamed: it is never open to others, and never
        // missing.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let closed =
            tempfile::Builder::new().prefix(".").tempdir_in(parent.unwrap_or_else(|| Path::new(".")));
        let closed = closed.map_err(of_io)?;
        let new = closed.path().join("s");
        let listener = UnixListener::bind(&new).map_err(of_io)?;
        set_permissions(&new, Permissions::from_mode(0o600)).map_err(of_io)?;
        let socket = Socket { path: path.to_owned(), inode: inode(&new).map_err(of_io)? };
        rename(&new, path).map_err(of_io)?;
        Ok(Self::Unix(listener, socket))
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Tcp(_, address) => format!("http://{address}"),
            Self::Unix(_, socket) => format!("unix:{}", socket.path.display()),
        }
    }

    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(..))
    }

    /// The next client.
    pub(crate) async fn accept(&self) -> io::Result<(Box<dyn Stream>, Client)> {
        Ok(match self {
            Self::Tcp(listener, _) => {
                let (stream, address) = listener.accept().await?;
                // Small answers go at once.
                stream.set_nodelay(true)?;
                (Box::new(stream), Client::At(address))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let owner = stream.peer_cred()?;
                (Box::new(stream), Client::Of(owner))
            }
        })
    }
}

/// The client at the other end.
#[derive(Clone)]
pub(crate) enum Client {
    /// Its address, over TCP.
    At(SocketAddr),
    /// Its user and process, on a Unix socket.
    Of(UCred),
}

impl Client {
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::At(address) => address.ip().is_loopback(),
            Self::Of(_) => true,
        }
    }

    /// Whether it uses the Unix socket.
    pub(crate) fn is_on_socket(&self) -> bool {
        matches!(self, Self::Of(_))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Of(owner) => {
                write!(f, "uid {}", owner.uid())?;
                owner.pid().map_or(Ok(()), |pid| write!(f, " pid {pid}"))
            }
        }
    }
}

/// The socket file of this process, removed on drop.
pub(crate) struct Socket {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for Socket {
    /// Not if another process has put its own there meanwhile.
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|there| there == self.inode) {
            _ = remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    metadata(path).map(|file| (file.dev(), file.ino()))
}

fn refused(what: impl fmt::Display, fix: &str) -> Failed {
    Error::misconfigured(what, fix).into()
}
