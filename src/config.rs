//! Configuration: environment variables, read once, checked before anything is sent.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use crate::error::Error;
use crate::log::Level;
use crate::names::UnknownName;
use crate::policy::Policy;
use crate::request::Identity;
use crate::selection::Selection;
use crate::shared::Shared;
use crate::source::Credential;
use crate::tenant::Tenants;
use crate::token::Secret;

/// A variable that the broker reads.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// Whether its value is a secret.
    pub secret: bool,
    /// Whether its value is the path of a file that the broker reads.
    pub file: bool,
    /// Whether its value may have line ends and tabs in it.
    pub lines: bool,
    /// Its form, its default and what it does.
    pub about: &'static str,
}

/// Every variable that the broker reads; a host need not show it any other.
pub const VARIABLES: &[Variable] = &[
    lines(ALLOWED_SCOPES, "scopes or audiences separated by spaces; unset: all, set: nothing else"),
    lines(
        ALLOWED_IDENTITIES,
        "client, object or resource ids or `system-assigned`, separated by spaces; unset: all, set: nothing else",
    ),
    lines(
        INJECT,
        "`host=scope` separated by spaces: which requests that pass the injector get which token; behind a leading `+` \
         together with the built-in rules, else in their place",
    ),
    plain(
        INJECT_OTHERS,
        "`pass` or `refuse` (pass): what becomes of a request for which there is no such rule",
    ),
    plain(TIMEOUT_MS, "milliseconds that one try may take, 1 to 600000 (10000)"),
    plain(BUDGET_MS, "milliseconds that one call may take with all its tries, 1 to 600000 (90000)"),
    plain(LOG, "`off`, `error`, `warn`, `info` or `debug` (warn); JSON lines on stderr"),
    secret(
        STORE_KEY,
        "32 random bytes in base64, the same for all instances of a deployment: they share tokens through the host's store; \
         two with a comma between them while keys are changed, the new one first",
    ),
    plain(
        FEDERATED_CLIENT_ID,
        "with the next: the client id of the app registration that trusts this machine's managed identity, and is then \
         the default identity",
    ),
    plain(FEDERATED_TENANT_ID, "the tenant of that app registration"),
    secret(
        ENDPOINT_SECRET,
        "the secret that clients of an endpoint of ours show as `IDENTITY_HEADER`, 16 to 1024 characters; unset: it speaks \
         IMDS's protocol only, which has none",
    ),
    plain(
        ALLOWED_ENDPOINT,
        "an identity endpoint at a private address that may be sent its secret over plain http: the value of \
         `IDENTITY_ENDPOINT`, `MSI_ENDPOINT` or `AZURE_POD_IDENTITY_AUTHORITY_HOST`, to the letter",
    ),
    plain(
        PINNED_THUMBPRINT,
        "set by a host that compares the certificate of Service Fabric's endpoint: the thumbprint it insists on",
    ),
    plain(
        TOKEN_CREDENTIALS,
        "`prod` (as if unset), `EnvironmentCredential`, `WorkloadIdentityCredential`, or `ManagedIdentityCredential`: an \
         IMDS that does not answer is then retried",
    ),
    plain(CLIENT_ID, "the client id of the app registration or user-assigned identity that is the default"),
    plain(TENANT_ID, "the tenant of the app registration: its id or one of its domains; `adfs` for an AD FS"),
    secret(CLIENT_SECRET, "the client secret of the app registration"),
    file(CERTIFICATE_PATH, "the PEM file with the certificate and the RSA key of the app registration"),
    secret(CERTIFICATE_PASSWORD, "not accepted: a component opens no encrypted key"),
    plain(
        SEND_CERTIFICATE_CHAIN,
        "`1` or `true`: show the certificate chain, for apps that trust its issuer and subject",
    ),
    file(FEDERATED_TOKEN_FILE, "the file with the token of an issuer that the app registration trusts"),
    plain(AUTHORITY_HOST, "the https URL of the cloud's Entra endpoint (https://login.microsoftonline.com)"),
    plain(
        REGIONAL_AUTHORITY,
        "the region whose Entra endpoint is asked for an app's tokens, `westeurope` for instance",
    ),
    plain(ADDITIONAL_TENANTS, "other tenants that a request may name, separated by `;`, or `*`"),
    plain(DISABLE_MULTITENANT, "`1` or `true`: the tenant of a request is ignored"),
    plain(KUBERNETES_PROXY[0], NO_PROXY),
    plain(KUBERNETES_PROXY[1], NO_PROXY),
    plain(KUBERNETES_PROXY[2], NO_PROXY),
    lines(KUBERNETES_PROXY[3], NO_PROXY),
    plain(POD_IDENTITY_HOST, "the base URL of IMDS, on loopback or link-local (http://169.254.169.254)"),
    plain(
        IDENTITY_ENDPOINT,
        "the URL of the identity endpoint of App Service, Functions, Container Apps, Automation or Arc, on loopback or \
         link-local, or of Service Fabric",
    ),
    secret(IDENTITY_HEADER, "the secret that the identity endpoint expects"),
    plain(IDENTITY_SERVER_THUMBPRINT, "the SHA-1 thumbprint by which Service Fabric's endpoint is known"),
    plain(
        IMDS_ENDPOINT,
        "with `IDENTITY_ENDPOINT` and without its header: this is a server with the Azure Arc agent",
    ),
    plain(
        MSI_ENDPOINT,
        "the URL of the identity endpoint of Azure Machine Learning or App Service of 2017, without `MSI_SECRET` of Cloud \
         Shell, on loopback or link-local",
    ),
    secret(MSI_SECRET, "the secret that this endpoint expects"),
    plain(
        DEFAULT_IDENTITY_CLIENT_ID,
        "the client id of the identity that is Azure Machine Learning's default",
    ),
];

pub(crate) const ALLOWED_SCOPES: &str = "TOKEN_BROKER_ALLOWED_SCOPES";
pub(crate) const ALLOWED_IDENTITIES: &str = "TOKEN_BROKER_ALLOWED_IDENTITIES";
pub(crate) const INJECT: &str = "TOKEN_BROKER_INJECT";
pub(crate) const INJECT_OTHERS: &str = "TOKEN_BROKER_INJECT_OTHERS";
pub(crate) const TIMEOUT_MS: &str = "TOKEN_BROKER_TIMEOUT_MS";
pub(crate) const BUDGET_MS: &str = "TOKEN_BROKER_BUDGET_MS";
pub(crate) const LOG: &str = "TOKEN_BROKER_LOG";
pub(crate) const STORE_KEY: &str = "TOKEN_BROKER_STORE_KEY";
pub(crate) const FEDERATED_CLIENT_ID: &str = "TOKEN_BROKER_FEDERATED_CLIENT_ID";
pub(crate) const FEDERATED_TENANT_ID: &str = "TOKEN_BROKER_FEDERATED_TENANT_ID";
pub(crate) const ENDPOINT_SECRET: &str = "TOKEN_BROKER_ENDPOINT_SECRET";
pub(crate) const ALLOWED_ENDPOINT: &str = "TOKEN_BROKER_ALLOWED_ENDPOINT";
pub(crate) const PINNED_THUMBPRINT: &str = "TOKEN_BROKER_PINNED_THUMBPRINT";
pub(crate) const TOKEN_CREDENTIALS: &str = "AZURE_TOKEN_CREDENTIALS";
pub(crate) const CLIENT_ID: &str = "AZURE_CLIENT_ID";
pub(crate) const TENANT_ID: &str = "AZURE_TENANT_ID";
pub(crate) const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
pub(crate) const CERTIFICATE_PATH: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
pub(crate) const CERTIFICATE_PASSWORD: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";
pub(crate) const SEND_CERTIFICATE_CHAIN: &str = "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN";
pub(crate) const FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
pub(crate) const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
pub(crate) const REGIONAL_AUTHORITY: &str = "AZURE_REGIONAL_AUTHORITY_NAME";
pub(crate) const ADDITIONAL_TENANTS: &str = "AZURE_ADDITIONALLY_ALLOWED_TENANTS";
pub(crate) const DISABLE_MULTITENANT: &str = "AZURE_IDENTITY_DISABLE_MULTITENANTAUTH";
pub(crate) const KUBERNETES_PROXY: [&str; 4] = [
    "AZURE_KUBERNETES_TOKEN_PROXY",
    "AZURE_KUBERNETES_SNI_NAME",
    "AZURE_KUBERNETES_CA_FILE",
    "AZURE_KUBERNETES_CA_DATA",
];
pub(crate) const POD_IDENTITY_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
pub(crate) const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";
pub(crate) const IDENTITY_HEADER: &str = "IDENTITY_HEADER";
pub(crate) const IDENTITY_SERVER_THUMBPRINT: &str = "IDENTITY_SERVER_THUMBPRINT";
pub(crate) const IMDS_ENDPOINT: &str = "IMDS_ENDPOINT";
pub(crate) const MSI_ENDPOINT: &str = "MSI_ENDPOINT";
pub(crate) const MSI_SECRET: &str = "MSI_SECRET";
pub(crate) const DEFAULT_IDENTITY_CLIENT_ID: &str = "DEFAULT_IDENTITY_CLIENT_ID";

/// What names the identities of a deployment, besides the request: the same token is never shared where they differ.
/// Endpoints are not among them, since App Service gives each instance its own.
pub(crate) const REALM: [&str; 8] = [
    FEDERATED_CLIENT_ID,
    FEDERATED_TENANT_ID,
    TOKEN_CREDENTIALS,
    CLIENT_ID,
    TENANT_ID,
    AUTHORITY_HOST,
    DEFAULT_IDENTITY_CLIENT_ID,
    IDENTITY_SERVER_THUMBPRINT,
];

const NO_PROXY: &str = "not accepted: a component cannot check the certificate of the cluster's token proxy";

const fn plain(name: &'static str, about: &'static str) -> Variable {
    Variable { name, secret: false, file: false, lines: false, about }
}

const fn secret(name: &'static str, about: &'static str) -> Variable {
    Variable { secret: true, ..plain(name, about) }
}

const fn file(name: &'static str, about: &'static str) -> Variable {
    Variable { file: true, ..plain(name, about) }
}

const fn lines(name: &'static str, about: &'static str) -> Variable {
    Variable { lines: true, ..plain(name, about) }
}

/// The values of the broker's variables as they were when they were read. An empty value is an unset one.
#[derive(Debug, Default)]
pub struct Settings {
    values: Vec<(&'static Variable, Secret)>,
    /// The first name with the broker's prefix that is none of its variables.
    unknown: Option<UnknownName>,
}

impl Settings {
    /// The variables on which the default identity depends.
    pub const DEFAULT_IDENTITY: [&str; 3] = [FEDERATED_CLIENT_ID, CLIENT_ID, TOKEN_CREDENTIALS];

    /// The variable that [`Settings::log_level`] reads.
    pub const LOG: &str = LOG;

    /// Keep what the broker knows of some variables and drop the rest, but for the name of a mistaken one.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut settings = Self::default();
        for (name, value) in pairs {
            settings.set(&name, value);
        }
        settings
    }

    /// Set a variable, if the broker knows it and the value is not empty.
    pub fn set(&mut self, name: &str, value: String) {
        match VARIABLES.iter().find(|variable| variable.name == name) {
            None => self.unknown = self.unknown.take().or_else(|| UnknownName::of(name, &value)),
            Some(_) if value.is_empty() => {}
            Some(variable) => {
                self.values.retain(|(set, _)| set.name != name);
                self.values.push((variable, value.into()));
            }
        }
    }

    /// What holds for all variables, before any of them is used.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a name that has the broker's prefix and is none of its variables, for a value with a
    /// control character, and for one with quotes around it that is no secret.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(unknown) = &self.unknown {
            return Err(Error::Misconfigured(unknown.complaint()));
        }
        self.values.iter().try_for_each(|(variable, value)| check_value(variable, value.expose_secret()))
    }

    /// Whether a variable has a value.
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// How much is logged.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a word that is no level.
    pub fn log_level(&self) -> Result<Level, Error> {
        let Some(text) = self.get(LOG) else { return Ok(Level::default()) };
        [Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug]
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| Error::Misconfigured(format!("{LOG} must be off, error, warn, info or debug")))
    }

    /// Whether a switch is on, as Azure's libraries read it: they agree on these words only.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for any other word.
    pub(crate) fn is_on(&self, name: &str) -> Result<bool, Error> {
        let text = self.get(name).unwrap_or("0");
        let on = text == "1" || text.eq_ignore_ascii_case("true");
        if on || text == "0" || text.eq_ignore_ascii_case("false") {
            return Ok(on);
        }
        Err(Error::Misconfigured(format!("{name} must be `true`, `1`, `false` or `0`")))
    }

    /// Whom a request stands for that names no identity: the federated app registration, unless
    /// `AZURE_TOKEN_CREDENTIALS` leaves it out, else whom `AZURE_CLIENT_ID` names.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] if that is no client id.
    pub fn default_identity(&self) -> Result<Identity, Error> {
        let federated = Selection::parse(self)?.includes(Credential::ManagedIdentity);
        let named = [FEDERATED_CLIENT_ID, CLIENT_ID]
            .into_iter()
            .filter(|name| federated || *name != FEDERATED_CLIENT_ID)
            .find_map(|name| self.get(name).map(|id| (name, id)));
        let Some((name, id)) = named else { return Ok(Identity::Default) };
        Identity::client_id(id)
            .map_err(|error| Error::Misconfigured(format!("{name} cannot be used: {error}")))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(set, _)| set.name == name).map(|(_, value)| value.expose_secret())
    }
}

/// A value is not repeated: it may be a secret under the wrong name.
fn check_value(variable: &Variable, value: &str) -> Result<(), Error> {
    let name = variable.name;
    let is_separator = |c: char| variable.lines && matches!(c, '\n' | '\r' | '\t');
    if let Some((at, c)) = value.char_indices().find(|(_, c)| c.is_control() && !is_separator(*c)) {
        return Err(Error::Misconfigured(format!(
            "{name} has the character U+{:04X} at byte {at} of {}; it must be without line ends and other control \
             characters, which `printf %s` does not add where `echo` does",
            u32::from(c),
            value.len()
        )));
    }
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Error::Misconfigured(format!("{name} is not UTF-8; it must be")));
    }
    if !variable.secret && value.starts_with(['"', '\'']) {
        return Err(Error::Misconfigured(format!(
            "{name} begins with a quote, which an env file keeps as a part of the value; it must be without"
        )));
    }
    Ok(())
}

/// Whether a value has quotes around it, as env files keep them. A secret may begin and end with one all the same.
pub(crate) fn is_quoted(value: &str) -> bool {
    let inside = |quote: char| value.strip_prefix(quote).is_some_and(|rest| rest.ends_with(quote));
    inside('"') || inside('\'')
}

/// What holds for every request, whatever source answers it.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) policy: Policy,
    pub(crate) default_identity: Identity,
    pub(crate) timeout: Duration,
    pub(crate) budget: Duration,
    pub(crate) log: Level,
    pub(crate) tenants: Tenants,
    pub(crate) selection: Selection,
    /// None: nothing is shared.
    pub(crate) shared: Option<Shared>,
}

impl Config {
    /// # Errors
    /// [`Error::Misconfigured`] for the first variable whose value cannot be used.
    pub(crate) fn parse(settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        Ok(Self {
            policy: Policy::new(settings.get(ALLOWED_SCOPES), settings.get(ALLOWED_IDENTITIES))?,
            default_identity: settings.default_identity()?,
            timeout: milliseconds(settings, TIMEOUT_MS, Duration::from_secs(10))?,
            budget: milliseconds(settings, BUDGET_MS, Duration::from_secs(90))?,
            log: settings.log_level()?,
            tenants: Tenants::detect(settings)?,
            selection: Selection::parse(settings)?,
            shared: Shared::detect(settings)?,
        })
    }

    /// Whether managed identity was asked for by name, so that its absence is a fault to wait out.
    pub(crate) fn is_patient(&self) -> bool {
        self.selection == Selection::Only(Credential::ManagedIdentity)
    }
}

fn milliseconds(settings: &Settings, name: &str, default: Duration) -> Result<Duration, Error> {
    let Some(text) = settings.get(name) else { return Ok(default) };
    match text.parse() {
        Ok(ms @ 1..=MAX_MS) => Ok(Duration::from_millis(ms)),
        _ => Err(Error::Misconfigured(format!(
            "{name} must be a whole number of milliseconds from 1 to {MAX_MS}"
        ))),
    }
}

const MAX_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: &str) -> Result<Config, Error> {
        Config::parse(&Settings::from_pairs([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn an_empty_environment_gives_the_documented_defaults() {
        let config = Config::parse(&Settings::default()).unwrap();
        assert_eq!(config.timeout, Duration::from_millis(10_000));
        assert_eq!(config.budget, Duration::from_millis(90_000));
        assert_eq!(config.log, Level::Warn);
        assert_eq!(config.default_identity, Identity::Default);
        assert!(!config.is_patient());
        for (name, default) in [(TIMEOUT_MS, "(10000)"), (BUDGET_MS, "(90000)"), (LOG, "(warn)")] {
            let about = VARIABLES.iter().find(|variable| variable.name == name).unwrap().about;
            assert!(about.contains(default), "{name}: {about}");
        }
    }

    #[test]
    fn an_empty_value_is_an_unset_one() {
        for variable in VARIABLES {
            let settings = Settings::from_pairs([(variable.name.to_owned(), String::new())]);
            assert!(!settings.is_set(variable.name));
        }
    }

    #[test]
    fn a_value_that_cannot_be_used_is_refused_by_the_name_of_its_variable() {
        for (name, value) in [
            (TIMEOUT_MS, "0"),
            (TIMEOUT_MS, "10s"),
            (TIMEOUT_MS, "600001"),
            (TIMEOUT_MS, "-1"),
            (BUDGET_MS, "99999999999999999999999"),
            (LOG, "verbose"),
            (LOG, "WARN"),
            (ALLOWED_SCOPES, "  "),
            (ALLOWED_SCOPES, "https://a\u{1}"),
            (ALLOWED_IDENTITIES, "\t"),
            (CLIENT_ID, "a b"),
            (TOKEN_CREDENTIALS, "dev"),
            (TOKEN_CREDENTIALS, "InvalidCredential"),
            (STORE_KEY, "c2VjcmV0"),
            (DISABLE_MULTITENANT, "yes"),
            (CLIENT_SECRET, "secret\n"),
            (CLIENT_SECRET, "sec\u{7f}ret"),
            (CLIENT_SECRET, "sec\u{fffd}ret"),
            (IDENTITY_HEADER, "a\tb"),
            (MSI_SECRET, "a\r\nx: y"),
            (STORE_KEY, "\0"),
            (FEDERATED_TOKEN_FILE, "/var/run/token\n"),
            (FEDERATED_TOKEN_FILE, "'/var/run/token'"),
            (CLIENT_ID, "\"11111111-1111-1111-1111-111111111111\""),
            (FEDERATED_CLIENT_ID, "'11111111-1111-1111-1111-111111111111'"),
            (DEFAULT_IDENTITY_CLIENT_ID, "\"11111111-1111-1111-1111-111111111111\""),
            (TENANT_ID, "\"22222222-2222-2222-2222-222222222222\""),
            (ALLOWED_SCOPES, "\"https://vault.azure.net\""),
            (TOKEN_CREDENTIALS, "\"prod\""),
        ] {
            let error = parse(name, value).unwrap_err();
            assert_eq!(error.kind(), "misconfigured", "{name}={value}");
            assert!(error.to_string().contains(name), "{name}={value}: {error}");
        }
    }

    #[test]
    fn a_switch_is_on_or_off_by_the_words_that_azures_libraries_agree_on() {
        for (text, on) in
            [("", false), ("0", false), ("False", false), ("1", true), ("true", true), ("TRUE", true)]
        {
            let settings = Settings::from_pairs([(SEND_CERTIFICATE_CHAIN.to_owned(), text.to_owned())]);
            assert_eq!(settings.is_on(SEND_CERTIFICATE_CHAIN), Ok(on), "{text}");
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
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let error = Config::parse(&Settings::from_pairs(pairs)).unwrap_err();
        assert_eq!(error.kind(), "misconfigured");
        let text = error.to_string();
        assert!(text.contains("TOKEN_BROKER_ALOWED_SCOPES") && text.contains(ALLOWED_SCOPES), "{text}");
        assert!(!text.contains("https://a"), "{text}");
    }

    #[test]
    fn variables_that_are_not_the_brokers_are_not_kept() {
        let settings = Settings::from_pairs([("PATH".to_owned(), "/bin".to_owned())]);
        assert!(!settings.is_set("PATH"));
    }

    #[test]
    fn settings_do_not_show_their_values() {
        let settings = Settings::from_pairs([(IDENTITY_HEADER.to_owned(), "hunter2".to_owned())]);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
