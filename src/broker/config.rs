//! The configuration: the parsed settings.

use std::time::Duration;

use crate::acquire::FetchLimits;
use crate::fleet::Fleet;
use crate::model::{Error, Identity, Level};
use crate::policy::Policy;
use crate::settings::tenant::Tenants;
use crate::settings::variables::{BUDGET_MS, TIMEOUT_MS};
use crate::settings::{Credential, MAX_MS, Selection, Settings};

/// The configuration of a broker, without that of the sources.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) policy: Policy,
    pub(crate) default_identity: Identity,
    /// The timeout of one call.
    pub(crate) budget: Duration,
    pub(crate) fetch: FetchLimits,
    pub(crate) log: Level,
    pub(crate) tenants: Tenants,
    /// None if no store is shared.
    pub(crate) fleet: Option<Fleet>,
}

impl Config {
    /// # Errors
    /// [`Error::Misconfigured`] for the first variable whose value cannot be used.
    pub(crate) fn parse(settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        Ok(Self {
            policy: Policy::detect(settings)?,
            default_identity: settings.default_identity()?,
            fetch: FetchLimits {
                timeout: milliseconds(settings, TIMEOUT_MS, Duration::from_secs(10))?,
                requires_managed_identity: Selection::parse(settings)?
                    == Selection::Only(Credential::ManagedIdentity),
            },
            budget: milliseconds(settings, BUDGET_MS, Duration::from_secs(90))?,
            log: settings.log_level()?,
            tenants: Tenants::detect(settings)?,
            fleet: Fleet::detect(settings)?,
        })
    }
}

fn milliseconds(settings: &Settings, name: &str, default: Duration) -> Result<Duration, Error> {
    let Some(text) = settings.get(name) else { return Ok(default) };
    match text.parse() {
        Ok(ms @ 1..=MAX_MS) => Ok(Duration::from_millis(ms)),
        _ => Err(Error::misconfigured(
            format_args!("{} is not a number of milliseconds", settings.name(name)),
            format_args!("set it to a whole number from 1 to {MAX_MS}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::VARIABLES;
    use crate::settings::is_quoted;
    use crate::settings::variables::*;
    use crate::tests::settings;

    fn parse(name: &str, value: &str) -> Result<Config, Error> {
        Config::parse(&settings(&[(name, value)]))
    }

    #[test]
    fn an_empty_environment_gives_the_documented_defaults() {
        let config = Config::parse(&Settings::default()).unwrap();
        assert_eq!(config.fetch.timeout, Duration::from_millis(10_000));
        assert_eq!(config.budget, Duration::from_millis(90_000));
        assert_eq!(config.log, Level::Warn);
        assert_eq!(config.default_identity, Identity::Default);
        assert!(!config.fetch.requires_managed_identity);
        for (name, default) in [(TIMEOUT_MS, "(10000)"), (BUDGET_MS, "(90000)"), (LOG, "(warn)")] {
            let about = VARIABLES.iter().find(|variable| variable.name == name).unwrap().about;
            assert!(about.contains(default), "{name}: {about}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_used_is_refused_by_the_name_of_its_variable() {
        for (name, values) in [
            (TIMEOUT_MS, &["0", "10s", "600001", "-1"][..]),
            (BUDGET_MS, &["99999999999999999999999"]),
            (LOG, &["verbose", "WARN"]),
            (ALLOWED_SCOPES, &["  ", "https://a\u{1}", "\"https://vault.azure.net\""]),
            (ALLOWED_IDENTITIES, &["\t"]),
            (CLIENT_ID, &["a b", "\"11111111-1111-1111-1111-111111111111\""]),
            (FEDERATED_CLIENT_ID, &["'11111111-1111-1111-1111-111111111111'"]),
            (DEFAULT_IDENTITY_CLIENT_ID, &["\"11111111-1111-1111-1111-111111111111\""]),
            (TENANT_ID, &["\"22222222-2222-2222-2222-222222222222\""]),
            (TOKEN_CREDENTIALS, &["dev", "InvalidCredential", "\"prod\""]),
            (STORE_KEY, &["c2VjcmV0", "\0"]),
            (DISABLE_MULTITENANT, &["yes"]),
            (CLIENT_SECRET, &["secret\n", "sec\u{7f}ret", "sec\u{fffd}ret"]),
            (IDENTITY_HEADER, &["a\tb"]),
            (MSI_SECRET, &["a\r\nx: y"]),
            (FEDERATED_TOKEN_FILE, &["/var/run/token\n", "'/var/run/token'"]),
        ] {
            for value in values {
                let error = parse(name, value).unwrap_err();
                assert_eq!(error.kind(), "misconfigured", "{name}={value}");
                assert!(error.to_string().contains(name), "{name}={value}: {error}");
            }
        }
    }

    #[test]
    fn a_list_may_be_written_in_lines() {
        let scopes = "\n  https://vault.azure.net\r\n\thttps://storage.azure.com\n";
        assert!(parse(ALLOWED_SCOPES, scopes).is_ok());
    }

    #[test]
    fn a_secret_may_have_quotes_and_is_not_repeated_where_it_is_refused() {
        assert!(parse(CLIENT_SECRET, "\"sec'ret\"").is_ok());
        let error = parse(CLIENT_SECRET, "hunter2\n").unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("U+000A at byte 7 of 8"), "{error}");
        for (value, quoted) in
            [("\"a\"", true), ("'a'", true), ("\"", false), ("\"a'", false), ("a\"b\"", false)]
        {
            assert_eq!(is_quoted(value), quoted, "{value}");
        }
    }

    #[test]
    fn a_mistaken_name_is_refused_whatever_else_is_set() {
        let pairs = [("TOKEN_BROKER_ALOWED_SCOPES", "https://a"), (CLIENT_ID, "x"), ("PATH", "/bin")];
        let error = Config::parse(&settings(&pairs)).unwrap_err();
        assert_eq!(error.kind(), "misconfigured");
        let text = error.to_string();
        assert!(text.contains("TOKEN_BROKER_ALOWED_SCOPES") && text.contains(ALLOWED_SCOPES), "{text}");
        assert!(!text.contains("https://a"), "{text}");
    }
}
