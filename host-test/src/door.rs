//! Another address of a server.

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// A base URL of this machine at which a server is reached as well, for as long as the runtime lives
///
/// # Errors
/// When `base` is no plain URL, or nothing can be listened on.
pub async fn to(base: &str) -> Result<String> {
    let server = base.strip_prefix("http://").context("not plain http")?.to_owned();
    let door = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", door.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = door.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(&server).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    Ok(address)
}
