//! Gets a token for Azure SQL and says how it goes into the login of a connection.
//!
//! The cloud's database is `database.windows.net`, or what `SQL_DOMAIN` says in another one. What a client of SQL Server
//! does with the token is in `login.rs`; clients that take one as it is need nothing of it.

mod login;

use std::fmt::Display;

struct Sql;

impl bindings::Guest for Sql {
    async fn run() -> Result<(), ()> {
        match login().await {
            Ok(line) => println!("{line}"),
            Err(Failed(why)) => {
                eprintln!("sql: {why}");
                return Err(());
            }
        }
        Ok(())
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place of this component that reads the environment")]
async fn login() -> Result<String, Failed> {
    let domain = std::env::var("SQL_DOMAIN").ok().filter(|domain| !domain.is_empty());
    let domain = domain.unwrap_or_else(|| PUBLIC.into());
    let token = token_broker_client::token(&format!("https://{domain}/.default")).await?;
    let feature = login::federated_authentication(token.secret())?;
    Ok(format!(
        "a token for https://{domain}, good until {} (Unix seconds); in a login it takes {} bytes",
        token.expires_on(),
        feature.len()
    ))
}

/// Why there is no login, in one line
struct Failed(String);

impl<E: Display> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

const PUBLIC: &str = "database.windows.net";

mod bindings {
    #![allow(unsafe_code, reason = "generated")]

    pub(super) use wasip3::exports::cli::run::Guest;

    use super::Sql;

    wasip3::cli::command::export!(Sql);
}
