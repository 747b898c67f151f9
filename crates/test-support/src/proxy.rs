//! A proxy for https requests, as those of companies.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a proxy does with each request
#[derive(Clone)]
pub enum Does {
    /// Leads to a port of this machine, whatever host the request names
    Lead(u16),
    /// Says this, and then nothing more
    Say(String),
}

/// A proxy of this process on a port of 127.0.0.1
pub struct TestProxy {
    port: u16,
    requests: Requests,
    _serving: JoinSet<()>,
}

/// The heads of the requests that came
type Requests = Arc<Mutex<Vec<String>>>;

impl TestProxy {
    /// A proxy that is reached by plain http
    pub async fn start(does: Does) -> Self {
        Self::accepting(does, |connection| async { Ok(connection) }).await
    }

    /// A proxy whose connections begin with this handshake
    ///
    /// # Panics
    /// If there is no port for it.
    #[expect(clippy::unwrap_used, reason = "a test ends where it cannot have a port")]
    pub async fn accepting<A, F, C>(does: Does, accept: A) -> Self
    where
        A: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = io::Result<C>> + Send + 'static,
        C: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Requests::default();
        let mut serving = JoinSet::new();
        let kept = Arc::clone(&requests);
        serving.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let (does, requests, accepted) = (does.clone(), Arc::clone(&kept), accept(connection));
                open.spawn(async move {
                    // The client may end it at any time.
                    if let Ok(connection) = accepted.await {
                        _ = serve(connection, does, requests).await;
                    }
                });
            }
        });
        Self { port, requests, _serving: serving }
    }

    /// Its port of 127.0.0.1
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL, for a proxy by plain http
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The heads of the requests that came
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    does: Does,
    requests: Requests,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await?);
    }
    requests.lock().unwrap_or_else(PoisonError::into_inner).push(String::from_utf8_lossy(&head).into_owned());
    match does {
        Does::Lead(port) => {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
            connection.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            copy_bidirectional(&mut connection, &mut server).await?;
        }
        Does::Say(text) => {
            connection.write_all(text.as_bytes()).await?;
            connection.flush().await?;
            while connection.read_u8().await.is_ok() {}
        }
    }
    Ok(())
}
