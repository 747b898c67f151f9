//! Reads a Key Vault secret with a token that the broker provides. There is no secret in its configuration.
//!
//! `KEY_VAULT_URL` is the vault, `https://my.vault.azure.net`; `SECRET_NAME` the secret, `MySecret` if unset;
//! `SECRET_VERSION` its version, the latest if unset. Prints the secret's length; its value only with `--show`.

mod settings;
mod vault;

use std::fmt::Display;

use settings::Settings;
use vault::Secret;

struct KeyVault;

impl bindings::Guest for KeyVault {
    async fn run() -> Result<(), ()> {
        match read().await {
            Ok(line) => println!("{line}"),
            Err(Failed(why)) => {
                eprintln!("key-vault: {why}");
                return Err(());
            }
        }
        Ok(())
    }
}

async fn read() -> Result<String, Failed> {
    let settings = Settings::from_environment()?;
    let Secret { value } =
        vault::secret(&settings.vault, &settings.name, settings.version.as_deref()).await?;
    Ok(match settings.show {
        true => format!("{}: {value}", settings.name),
        false => format!("{}: {} characters (--show prints them)", settings.name, value.chars().count()),
    })
}

/// Why there is no secret, in one line.
///
/// A `Box<dyn Error>` would do, and carry how every error looks to `Debug`: 6 kB.
struct Failed(String);

impl<E: Display> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

mod bindings {
    #![allow(unsafe_code, reason = "generated")]

    pub(super) use wasip3::exports::cli::run::Guest;

    use super::KeyVault;

    wasip3::cli::command::export!(KeyVault);
}
