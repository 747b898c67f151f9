//! Addresses of this machine at which nobody listens, and nobody else begins to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that is ours: connections to it are refused until a program that we give it to listens there
///
/// The socket that holds it does not listen, so a program may, as long as it reuses addresses as servers do.
pub struct Port {
    _held: TcpSocket,
    address: SocketAddr,
}

impl Port {
    /// Have one of the ports that are free
    ///
    /// # Errors
    /// When the system has none.
    pub fn reserve() -> io::Result<Self> {
        let held = TcpSocket::new_v4()?;
        held.set_reuseaddr(true)?;
        held.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = held.local_addr()?;
        Ok(Self { _held: held, address })
    }

    /// The address, with 127.0.0.1
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number
    pub fn number(&self) -> u16 {
        self.address.port()
    }

    /// The URL of a server at this port, without a slash at the end
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_refuses_until_it_is_listened_at_and_is_given_to_nobody_else() {
        let port = Port::reserve().unwrap();
        assert_eq!(TcpStream::connect(port.address()).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let others: Vec<_> = (0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        assert!(others.iter().all(|other| other.local_addr().unwrap() != port.address()));
        let listener = TcpListener::bind(port.address()).unwrap();
        TcpStream::connect(port.address()).unwrap();
        listener.accept().unwrap();
    }
}
