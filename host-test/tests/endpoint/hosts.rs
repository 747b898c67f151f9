//! What serves: two programs as their users start them, and a host of ours that lends a store.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, LazyLock},
};

use host_test::{
    hosts,
    mock::{Environment, Mock},
    serve::{Reuse, Server},
};
use serde_json::Value;
use token_broker_host::{Store, add_settings_to_linker, add_store_to_linker, engine_config};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Child,
    task::JoinHandle,
};
use wasmtime::{
    Engine,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView, default_hooks};

pub(crate) const SECRET: &str = "s3ntinel-of-the-endpoint";

/// A program that serves
pub(crate) struct Command {
    process: Child,
    url: String,
    log: JoinHandle<String>,
}

impl Command {
    /// `token-broker serve`
    pub(crate) async fn serve(environment: &[(&'static str, String)]) -> Self {
        let mut command = tokio::process::Command::new(beside_tests("token-broker"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).env_clear().envs(environment.iter().cloned());
        command.env("XDG_CACHE_HOME", target("tmp/cache-of-user"));
        let mut process = start(command);
        let log = collect(process.stderr.take().unwrap());
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let url = line.split(' ').next().unwrap().to_owned();
        assert!(url.starts_with("http://"), "token-broker serve did not begin: {line}");
        Self { process, url, log }
    }

    /// The command of the README
    pub(crate) async fn wasmtime(environment: &[(&'static str, String)]) -> Self {
        let mut command = tokio::process::Command::new(hosts::wasmtime());
        command.env_clear();
        let mut arguments = of_readme();
        let component = arguments.pop().expect("the component comes last");
        for argument in arguments {
            command.arg(if argument.starts_with("127.0.0.1:") { "127.0.0.1:0" } else { &argument });
        }
        for (name, value) in environment {
            command.args(["--env", &format!("{name}={value}")]);
        }
        command.args(["--env", "TOKEN_BROKER_LOG=debug"]).arg(target("..").join(component));
        let mut process = start(command);
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).await.unwrap();
        let url =
            line.trim().strip_prefix("Serving HTTP on ").expect("wasmtime serves").trim_end_matches('/');
        Self { url: url.to_owned(), log: collect(stderr), process }
    }

    pub(crate) fn imds_env(&self) -> Environment {
        vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.url.clone())]
    }

    pub(crate) fn app_service_env(&self) -> Environment {
        vec![("IDENTITY_ENDPOINT", format!("{}/msi/token", self.url)), ("IDENTITY_HEADER", SECRET.to_owned())]
    }

    /// How many answers there were of each status; `token-broker serve` counts them
    pub(crate) async fn answers(&self) -> Value {
        let mut stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).await.unwrap();
        let request = "GET /stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap()["answers"].clone()
    }

    /// End it; all that it logged
    pub(crate) async fn end(mut self) -> String {
        self.process.kill().await.unwrap();
        let log = self.log.await.unwrap();
        assert!(!log.contains("eyJ") && !log.contains("s3ntinel"), "a secret is in the log");
        log
    }
}

fn start(mut command: tokio::process::Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let program = command.as_std().get_program().display().to_string();
    command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask setup` brings the hosts"))
}

fn collect(mut stderr: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<String> {
    tokio::spawn(async move {
        let mut log = String::new();
        stderr.read_to_string(&mut log).await.unwrap();
        log
    })
}

/// The arguments of `wasmtime serve` in the README
pub(crate) fn of_readme() -> Vec<String> {
    let readme = std::fs::read_to_string(target("../README.md")).unwrap();
    let (_, command) = readme.split_once("$ wasmtime serve").expect("the README has the command");
    let mut lines = command.lines();
    let mut text = "serve".to_owned();
    while let Some(line) = lines.next() {
        text.push_str(line.trim_end_matches('\\'));
        if !line.ends_with('\\') {
            break;
        }
    }
    text.split_whitespace().map(str::to_owned).collect()
}

/// Instances of `token-endpoint-core.wasm` on a host of ours, which all share a store
pub(crate) async fn shared(mock: &Mock, reuse: Reuse, store: Arc<dyn Store>, key: &'static str) -> Server {
    let environment = [mock.imds_env(), vec![("TOKEN_BROKER_STORE_KEY", key.to_owned())]].concat();
    let (component, linker) = &*ENDPOINT;
    Server::start(linker, component, reuse, move || State {
        wasi: WasiCtx::builder().envs(&environment).inherit_stderr().build(),
        http: WasiHttpCtx::new(),
        table: ResourceTable::new(),
        store: store.clone(),
    })
    .await
    .unwrap()
}

pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    store: Arc<dyn Store>,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: default_hooks() }
    }
}

static ENDPOINT: LazyLock<(Component, Linker<State>)> = LazyLock::new(|| {
    let engine = Engine::new(&engine_config()).unwrap();
    let file = target("components/token-endpoint-core.wasm");
    assert!(file.exists(), "{} is missing: run `cargo xtask build`", file.display());
    (Component::from_file(&engine, file).unwrap(), linker(&engine).unwrap())
});

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    add_store_to_linker(&mut linker, |state: &mut State| state.store.clone())?;
    add_settings_to_linker(&mut linker, |_| None)?;
    Ok(linker)
}

/// A program of the workspace, in the directory above that of this test
fn beside_tests(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap().parent().unwrap().with_file_name(name);
    assert!(program.exists(), "{} is missing: cargo build --release -p token-broker-host", program.display());
    program
}

fn target(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(path)
}
