//! A real Redis, which can be killed and started again.

use std::path::Path;
use std::process::Stdio;

use redis::Client;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A server on a port of its own, without persistence: what it held is gone with it.
pub(crate) struct Redis {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = serve(folder.path(), port);
        let redis = Self { folder, port, process };
        redis.until_it_answers().await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    pub(crate) fn url_with_password(&self, password: &str) -> String {
        self.url().replace(PASSWORD, password)
    }

    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.process = serve(self.folder.path(), self.port);
        self.until_it_answers().await;
    }

    /// The names of all that it holds.
    pub(crate) async fn names(&self) -> Vec<String> {
        let mut connection = self.client().get_multiplexed_async_connection().await.unwrap();
        redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap()
    }

    async fn until_it_answers(&self) {
        for _ in 0..500 {
            if self.client().get_multiplexed_async_connection().await.is_ok() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("redis-server does not answer");
    }

    fn client(&self) -> Client {
        Client::open(self.url()).unwrap()
    }
}

fn serve(folder: &Path, port: u16) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--requirepass", PASSWORD])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server is there: `cargo xtask setup` brings it")
}

const PASSWORD: &str = "of-the-fleet";

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
