//! Proxies as processes, with the configurations of the examples.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use host_test::envoy::{Response, Upstream, send};
use host_test::hosts;
use http::Request;
use rustix::process::geteuid;
use test_support::port::Port;
use tokio::process::{Child, Command};

use crate::stage::{Run, until};

/// A proxy in front of a service, until it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    log: PathBuf,
    _port: Port,
    _process: Child,
}

impl Proxy {
    pub(crate) async fn envoy(run: &Run, service: &Upstream) -> Self {
        let port = Port::reserve().unwrap();
        let secret = run.example("envoy-token.yaml", &[]);
        let service = format!("address: 127.0.0.1, port_value: {}", service.address().port());
        let file = run.example(
            "envoy.yaml",
            &[
                ("/etc/envoy/envoy-token.yaml", secret.to_str().unwrap()),
                ("port_value: 10080", &format!("port_value: {}", port.number())),
                ("address: my-vault.vault.azure.net, port_value: 443", &service),
            ],
        );
        // Here the service speaks no TLS, which is the last part of the file.
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.split_once("    transport_socket:").unwrap().0).unwrap();
        let mut command = Command::new(hosts::envoy());
        command.arg("--config-path").arg(file);
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"]);
        Self::start(command, run, port).await
    }

    pub(crate) async fn caddy(run: &Run, service: &Upstream) -> Self {
        let port = Port::reserve().unwrap();
        let file = run.example("Caddyfile", &addresses("10081", &port, service));
        let mut command = Command::new(hosts::caddy());
        command.arg("run").arg("--config").arg(file).args(["--adapter", "caddyfile"]);
        command.env("HOME", run.path("home"));
        Self::start(command, run, port).await
    }

    pub(crate) async fn apache(run: &Run, service: &Upstream) -> Self {
        let port = Port::reserve().unwrap();
        let site = run.example("apache.conf", &addresses("10082", &port, service));
        let main = run.path("main.conf");
        fs::write(&main, apache(&site, run)).unwrap();
        let mut command = Command::new("apache2");
        command.arg("-f").arg(main).args(["-D", "FOREGROUND"]);
        command.env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin");
        Self::start(command, run, port).await
    }

    async fn start(mut command: Command, run: &Run, port: Port) -> Self {
        let log = run.path("log");
        let output = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).kill_on_drop(true);
        let program = command.as_std().get_program().display().to_string();
        let mut process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask setup` brings it"));
        let address = port.address();
        until(async || {
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "{program}: {ended:?} {}", fs::read_to_string(&log).unwrap());
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        Self { address, log, _port: port, _process: process }
    }

    /// A request of a client that has credentials of its own.
    pub(crate) async fn get(&self) -> Response {
        let request = Request::get("/secrets/MySecret").header("authorization", "Bearer of-the-client");
        send(self.address, request.body(Bytes::new()).unwrap()).await.unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

fn addresses(number: &'static str, port: &Port, service: &Upstream) -> [(&'static str, &'static str); 2] {
    let service = format!("http://{}", service.address());
    [(number, port.number().to_string().leak()), ("https://my-vault.vault.azure.net", service.leak())]
}

/// What a distribution's configuration has around that of a site.
fn apache(site: &Path, run: &Run) -> String {
    let modules =
        ["mpm_event", "authz_core", "alias", "headers", "proxy", "proxy_http", "socache_shmcb", "ssl"];
    let load = |name: &str| format!("LoadModule {name}_module modules/mod_{name}.so\n");
    let folder = run.path("").display().to_string();
    // Not as root, as which Apache does not serve.
    let user = if geteuid().is_root() { "User nobody\nGroup nogroup\n" } else { "" };
    format!(
        "ServerRoot /usr/lib/apache2\nServerName localhost\nPidFile {folder}/pid\nErrorLog /dev/stderr\n\
         Mutex file:{folder}\n{user}{}Include {}\n",
        modules.map(load).concat(),
        site.display()
    )
}
