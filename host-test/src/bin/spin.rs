//! `spin up`, as far as the tests of `examples/spin-app` need it: Spin is in no registry of packages. Serves the application
//! of `spin.toml` in the current folder, from the components that `cargo xtask build` composed as Spin does.

#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a program reads files and waits")]

use anyhow::{Context as _, Result};
use clap::Parser;
use host_test::serve::Reuse;
use host_test::spin::app::App;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

#[derive(Parser)]
enum Command {
    /// Serve the application on port 3000
    Up {
        /// The value of a variable, as NAME=VALUE
        #[arg(long)]
        variable: Vec<String>,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let Command::Up { variable } = Command::parse();
    let values: Option<Vec<_>> = variable.iter().map(|variable| variable.split_once('=')).collect();
    let values = values.context("a variable without a value")?;
    let app = App::start(&std::fs::read_to_string("spin.toml")?, &values, Reuse::default()).await?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("Serving http://127.0.0.1:3000\nAvailable Routes:");
    app.routes().for_each(|(route, name)| println!("  {name}: http://127.0.0.1:3000{route}"));
    let app: &App = Box::leak(Box::new(app));
    loop {
        let (client, _) = listener.accept().await?;
        // A client that goes away is no concern of the others.
        tokio::spawn(forward(app, client));
    }
}

/// Connect a client to the component of its request's route, for one request.
async fn forward(app: &App, client: TcpStream) -> Result<()> {
    let (mut client, mut first) = (BufReader::new(client), String::new());
    client.read_line(&mut first).await?;
    let path = first.split([' ', '?']).nth(1).context("no HTTP")?;
    let server = app.server(path).with_context(|| format!("the manifest has no route {path}"))?;
    let mut component = TcpStream::connect(server.url().trim_start_matches("http://")).await?;
    component.write_all(format!("{first}Connection: close\r\n").as_bytes()).await?;
    copy_bidirectional(&mut client, &mut component).await?;
    Ok(())
}
