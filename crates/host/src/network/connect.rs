//! Connections to the addresses of a host, each checked first.
//!
//! A connection resolves a name once and goes to an address that passed the check: the owner of the name may answer
//! otherwise the next time (DNS rebinding).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Uri;
use token_broker::Error;
use token_broker_egress::{Guard, Target};
use tokio::net::{TcpStream, lookup_host};

use crate::future::BoxFuture;
use crate::log::Log;
use crate::network::http::HttpError;
use crate::network::tls;

/// The network as one kind of sender sees it.
#[derive(Clone)]
pub(crate) struct Network {
    resolve: Arc<Resolve>,
    judge: Judge,
}

type Resolve = dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;
/// Whether a request may be sent to an address; the flag says that it is one of this machine.
type Judge = fn(&Target, IpAddr, bool) -> Result<(), Error>;

impl Network {
    /// For the broker: only to the addresses of the host that its configuration names.
    pub(crate) fn of_broker() -> Self {
        Self::new(|target, address, _| match target.may_be_at(address) {
            true => Ok(()),
            false => Err(Error::denied(
                format_args!("{target} leads to {address}, which is not an address of that host"),
                "name the address itself, or correct the address of the name",
            )),
        })
    }

    /// To a proxy, wherever it is: the deployer names it, and it gets no request of the broker's.
    pub(crate) fn of_proxy() -> Self {
        Self::new(|_, _, _| Ok(()))
    }

    /// For components: to no endpoint of the platform, and to this machine only by address.
    pub(crate) fn of_component() -> Self {
        Self::new(Guard::check_address)
    }

    fn new(judge: Judge) -> Self {
        let resolve = |host: String, port| -> BoxFuture<'static, _> {
            Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
        };
        Self { resolve: Arc::new(resolve), judge }
    }

    /// A connection to the first address of a URL's host that may be used and answers.
    pub(crate) async fn connect(&self, uri: &Uri, log: &Log) -> Result<TcpStream, HttpError> {
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let target = Target::parse(uri.scheme_str(), authority).map_err(|error| prohibited(&error, log))?;
        let resolved = (self.resolve)(tls::bare_host(uri).to_owned(), tls::port(uri));
        let mut last = HttpError::Connect(io::Error::other("the host name has no address"));
        for address in resolved.await.map_err(HttpError::Connect)? {
            match self.try_one(&target, address).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = HttpError::Connect(error),
                Err(error) => last = prohibited(&error, log),
            }
        }
        Err(last)
    }

    async fn try_one(&self, target: &Target, address: SocketAddr) -> Result<io::Result<TcpStream>, Error> {
        (self.judge)(target, address.ip(), false)?;
        let connection = match TcpStream::connect(address).await {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(error)),
        };
        // From this machine to itself a connection has one address at both ends. Nothing has been sent yet.
        let is_own = connection.local_addr().is_ok_and(|own| own.ip() == address.ip());
        (self.judge)(target, address.ip(), is_own)?;
        Ok(Ok(connection))
    }
}

fn prohibited(error: &Error, log: &Log) -> HttpError {
    log.event("request refused by the host", &error.to_string());
    HttpError::DestinationIpProhibited
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;

    use super::*;

    /// A network in which every name has these addresses, and how often one was looked up.
    fn leading_to(network: Network, addresses: Vec<SocketAddr>) -> (Network, Arc<AtomicUsize>) {
        let looked_up = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&looked_up);
        let resolve = move |_, _| -> BoxFuture<'static, _> {
            count.fetch_add(1, Ordering::Relaxed);
            let addresses = addresses.clone();
            Box::pin(async move { Ok(addresses) })
        };
        (Network { resolve: Arc::new(resolve), ..network }, looked_up)
    }

    fn log() -> (Log, Arc<Mutex<String>>) {
        let lines = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&lines);
        (Log::new(move |line| *kept.lock().unwrap() += line), lines)
    }

    /// Whether there is a connection, and what was logged.
    async fn connect(network: &Network, url: &str) -> (Result<SocketAddr, HttpError>, String) {
        let (log, lines) = log();
        let connection = network.connect(&url.parse().unwrap(), &log).await;
        let lines = lines.lock().unwrap().clone();
        (connection.map(|connection| connection.peer_addr().unwrap()), lines)
    }

    #[tokio::test]
    async fn a_name_leads_a_component_to_no_server_of_this_machine_in_any_spelling_of_its_address() {
        let listener = TcpListener::bind("[::]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for address in ["127.0.0.1", "127.0.1.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"] {
            let address = SocketAddr::new(address.parse().unwrap(), port);
            let (network, _) = leading_to(Network::of_component(), vec![address]);
            let (connected, log) = connect(&network, &format!("http://this-machine:{port}/")).await;
            assert!(matches!(connected, Err(HttpError::DestinationIpProhibited)), "{address}: {connected:?}");
            assert!(log.contains("this-machine") && log.contains("; fix: "), "{log}");
            let (connected, _) = connect(&network, &format!("http://localhost:{port}/")).await;
            assert!(connected.is_ok(), "{address}: {connected:?}");
        }
    }

    #[tokio::test]
    async fn a_name_leads_a_component_to_no_service_of_the_platform_and_nobody_is_asked() {
        for address in
            ["169.254.169.254:80", "[::ffff:169.254.169.254]:80", "168.63.129.16:80", "[fe80::1]:80"]
        {
            for url in ["http://a.example/", "https://a.example/", "http://localhost/"] {
                let (network, looked_up) =
                    leading_to(Network::of_component(), vec![address.parse().unwrap()]);
                let (connected, log) = connect(&network, url).await;
                assert!(matches!(connected, Err(HttpError::DestinationIpProhibited)), "{url} {address}");
                assert!(log.contains("leads to"), "{log}");
                assert_eq!(looked_up.load(Ordering::Relaxed), 1);
            }
        }
    }

    #[tokio::test]
    async fn of_the_addresses_of_a_name_those_that_may_not_be_used_are_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let bad = SocketAddr::new("10.0.0.4".parse().unwrap(), good.port());
        let (network, looked_up) = leading_to(Network::of_broker(), vec![bad, good]);
        let url = format!("http://localhost:{}/", good.port());
        let (connected, log) = connect(&network, &url).await;
        assert_eq!(connected.unwrap(), good, "to the address that was judged");
        assert!(log.contains("leads to 10.0.0.4"), "{log}");
        assert_eq!(looked_up.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_address_is_connected_to_as_it_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        for network in [Network::of_component(), Network::of_broker()] {
            let (connected, _) = connect(&network, &format!("http://{here}/")).await;
            assert_eq!(connected.unwrap(), here);
            let (elsewhere, _) = leading_to(network, vec![here]);
            let (connected, _) = connect(&elsewhere, &format!("http://10.0.0.4:{}/", here.port())).await;
            assert!(matches!(connected, Err(HttpError::DestinationIpProhibited)), "{connected:?}");
        }
    }

    #[tokio::test]
    async fn a_host_that_two_readers_take_for_two_is_not_looked_up() {
        let (network, looked_up) = leading_to(Network::of_broker(), vec![]);
        for url in ["http://[::1].evil.example/", "http://[::1].evil.example:80/", "http://user@localhost/"] {
            let (connected, _) = connect(&network, url).await;
            assert!(matches!(connected, Err(HttpError::DestinationIpProhibited)), "{url}: {connected:?}");
        }
        assert_eq!(looked_up.load(Ordering::Relaxed), 0);
    }
}
