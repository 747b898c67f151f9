//! The program behind `cargo xtask demo`: what the broker does, as a user would see it.
#![allow(
    clippy::disallowed_methods,
    reason = "the bans are the core's; a program has a clock and an environment"
)]

mod guest;
mod platform;
mod shown;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use token_broker_host::{AccessToken, Broker, Error, Identity, RawRequest};

use platform::Platform;

/// What the broker does, against a mock of Azure's identity platform. No token is ever printed.
#[derive(Parser)]
struct Arguments {
    /// Ask this machine's own identity endpoint instead of a mock
    #[arg(long)]
    real: bool,
    /// With --real, a user-assigned identity of this machine
    #[arg(long, value_name = "GUID", requires = "real")]
    client_id: Option<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let began = Instant::now();
    let arguments = Arguments::parse();
    let platform = match arguments.real {
        true => Platform::real(arguments.client_id)?,
        false => Platform::mock().await?,
    };
    heading("Start", &platform.about);
    let broker = platform.broker().await?;
    took(began, "compile and instantiate the broker");
    let succeeded = story(&platform, &broker).await?;
    println!("\nAll of it took {}.", shown::duration(began.elapsed()));
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether everything came out as it should.
async fn story(platform: &Platform, broker: &Broker) -> Result<bool> {
    let mut demo = Demo { platform, broker };
    heading("1. A token for Key Vault", "by the system-assigned identity");
    let first = demo.ask(Identity::SystemAssigned).await;
    heading("2. The same again", "from memory");
    let second = demo.ask(Identity::SystemAssigned).await;
    heading("3. A token of a user-assigned identity", "by its client id");
    let third = match &platform.client_id {
        Some(id) => demo.ask(Identity::client_id(id)?).await,
        None => skipped("--client-id GUID names one"),
    };
    heading("4. An identity that does not exist", "what went wrong, and what mends it");
    let wrong = demo.ask(Identity::client_id(NOBODY)?).await;
    heading(
        "5. A component reads the secret MySecret",
        "examples/key-vault, with a token of its host's broker",
    );
    let secret = match &platform.vault {
        Some(vault) => demo.read_secret(vault).await?,
        None => skipped("KEY_VAULT_URL names a vault"),
    };
    Ok(first && second && third && !wrong && secret)
}

struct Demo<'a> {
    platform: &'a Platform,
    broker: &'a Broker,
}

impl Demo<'_> {
    /// Whether there was a token.
    async fn ask(&mut self, identity: Identity) -> bool {
        let request = RawRequest { scopes: vec![SCOPE.into()], identity, ..RawRequest::default() };
        let (before, began) = (self.platform.requests(), Instant::now());
        let answer = self.broker.request_token(&request).await;
        let elapsed = began.elapsed();
        self.tell(&answer).await;
        println!("   took         {}, {} sent", shown::duration(elapsed), self.sent_since(before));
        answer.is_ok()
    }

    async fn tell(&self, answer: &Result<AccessToken, Error>) {
        match answer {
            Ok(token) => print!("{}", shown::token(token)),
            Err(error) => println!("   error        {error}"),
        }
    }

    /// Whether the component found the secret.
    async fn read_secret(&mut self, vault: &str) -> Result<bool> {
        let before = self.platform.requests();
        let component = guest::KeyVault::load(self.platform.engine(), self.broker)?;
        let began = Instant::now();
        let read = component.run(vault).await?;
        println!(
            "   took         {}, {} by the broker",
            shown::duration(began.elapsed()),
            self.sent_since(before)
        );
        Ok(read)
    }

    fn sent_since(&self, before: u64) -> String {
        match self.platform.requests() - before {
            1 => "1 request".into(),
            count => format!("{count} requests"),
        }
    }
}

fn heading(title: &str, about: &str) {
    println!("\n== {title}: {about}");
}

fn took(since: Instant, what: &str) {
    println!("   took         {} to {what}", shown::duration(since.elapsed()));
}

fn skipped(how: &str) -> bool {
    println!("   skipped      {how}");
    true
}

const SCOPE: &str = "https://vault.azure.net/.default";
const NOBODY: &str = "99999999-9999-9999-9999-999999999999";
