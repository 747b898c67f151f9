//! Settings: the values of environment variables, read once.

pub(crate) mod cloud;
pub(crate) mod named_variables;
mod selection;
mod setting_names;
pub(crate) mod tenant;
pub(crate) mod token_proxy;
mod unknown_name;
pub(crate) mod url;
pub mod variables;

use secrecy::{ExposeSecret as _, SecretBox};

pub use self::cloud::EntraHosts;
use self::named_variables::NamedValues;
pub use self::selection::Credential;
pub(crate) use self::selection::Selection;
pub(crate) use self::setting_names::SettingNames;
pub use self::token_proxy::{ProxyAuthorities, TokenProxy};
use self::unknown_name::UnknownName;
pub use self::unknown_name::concerns_broker;
use self::variables::{CLIENT_ID, FEDERATED_CLIENT_ID, LOG, PROXIES, TOKEN_CREDENTIALS};
pub use self::variables::{VARIABLES, Variable};
use crate::model::{Error, Identity, Level, Secret};

/// The values of the broker's variables. A variable with an empty value is not set.
#[derive(Debug, Default)]
pub struct Settings {
    values: Vec<Setting>,
    /// The values of the variables that [`Settings::named_variables`] returns.
    named: NamedValues,
    store_key: Option<SecretBox<[u8; 32]>>,
    /// The first variable that has the broker's prefix and is unknown.
    unknown: Option<UnknownName>,
    /// The variable of a proxy, whose value is not kept.
    proxy: Option<&'static str>,
}

#[derive(Debug)]
struct Setting {
    variable: &'static Variable,
    value: Secret,
    /// The name for errors, if the value is not from the environment.
    origin: Option<String>,
}

impl Settings {
    /// The error of a setting that the host could not look up, for the host's reason.
    pub fn unreadable(name: &str, why: &str) -> Error {
        Error::misconfigured(
            format_args!("the host cannot look up the setting {name}: {why}"),
            format_args!("make the host's provider of settings answer, or set {name} in the environment"),
        )
    }

    /// The variables that determine the default identity.
    pub const DEFAULT_IDENTITY: [&str; 3] = [FEDERATED_CLIENT_ID, CLIENT_ID, TOKEN_CREDENTIALS];

    /// The variable that [`Settings::log_level`] reads.
    pub const LOG: &str = LOG;

    /// Settings from names and values. Variables that the broker does not read are dropped; an unknown variable with
    /// the broker's prefix is remembered for [`Settings::check`].
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut settings = Self::default();
        let is_known = |(name, _): &(String, String)| VARIABLES.iter().any(|variable| variable.name == name);
        // The known ones may contain the names of others.
        let (known, others): (Vec<_>, Vec<_>) = pairs.into_iter().partition(is_known);
        for (name, value) in known.into_iter().chain(others) {
            settings.set(&name, value);
        }
        settings
    }

    /// Sets a variable, if the broker reads it, or another variable contains its name, and the value is not empty.
    pub fn set(&mut self, name: &str, value: String) {
        self.set_value(None, name, value);
    }

    fn set_value(&mut self, origin: Option<String>, name: &str, value: String) {
        match VARIABLES.iter().find(|variable| variable.name == name) {
            None if self.named_variables().iter().any(|named| named == name) => {
                if !value.is_empty() {
                    self.named.set(name, value);
                }
            }
            None if PROXIES.contains(&name) && !value.is_empty() => {
                self.proxy = PROXIES.into_iter().find(|known| *known == name);
            }
            None => self.unknown = self.unknown.take().or_else(|| UnknownName::of(name, &value)),
            Some(_) if value.is_empty() => {}
            Some(variable) => {
                self.values.retain(|setting| setting.variable.name != name);
                self.values.push(Setting { variable, value: value.into(), origin });
            }
        }
    }

    /// Sets a variable from another origin than the environment, a command-line option or a field of a file. Errors
    /// call the variable by the name of its origin.
    pub fn set_from(&mut self, origin: &str, name: &'static str, value: String) {
        self.set_value(Some(origin.to_owned()), name, value);
    }

    /// Sets the key that seals the entries of the shared store, instead of `TOKEN_BROKER_STORE_KEY`: for a host that
    /// generates it.
    pub fn set_store_key(&mut self, key: &[u8; 32]) {
        self.store_key = Some(SecretBox::new(Box::new(*key)));
    }

    /// Checks all names and values, before they are parsed.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an unknown variable with the broker's prefix, for a value with a control character,
    /// and for a quoted value that is not a secret.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(unknown) = &self.unknown {
            return Err(unknown.error());
        }
        let check = |setting: &Setting| {
            let Setting { variable, value, .. } = setting;
            check_value(variable, self.name(variable.name), value.expose_secret())
        };
        self.values.iter().try_for_each(check)
    }

    /// Whether a variable is set.
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The URL of a variable, if it is set: http or https, with an unambiguous host. `form` is the accepted form, for
    /// the error.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] that names the variable and the accepted form.
    pub fn url(&self, name: &str, form: &str) -> Result<Option<http::Uri>, Error> {
        self.get(name).map(|text| url::absolute(self.name(name), text, form)).transpose()
    }

    /// The error of a setting with a value that cannot be used: `why` goes on after its name, `form` is the accepted
    /// form.
    pub fn refused(&self, name: &str, why: &str, form: &str) -> Error {
        url::refused(self.name(name), why, form)
    }

    /// The log level.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an unknown level.
    pub fn log_level(&self) -> Result<Level, Error> {
        let Some(text) = self.get(LOG) else { return Ok(Level::default()) };
        [Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug]
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| {
                Error::misconfigured(
                    format_args!("{} is not a log level", self.name(LOG)),
                    "set it to `off`, `error`, `warn`, `info` or `debug`",
                )
            })
    }

    /// The value of a boolean variable. The accepted values are those on which Azure's libraries agree.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for another value.
    pub(crate) fn is_on(&self, name: &str) -> Result<bool, Error> {
        let text = self.get(name).unwrap_or("0");
        let on = text == "1" || text.eq_ignore_ascii_case("true");
        if on || text == "0" || text.eq_ignore_ascii_case("false") {
            return Ok(on);
        }
        let text = format_args!("{} is not a boolean", self.name(name));
        Err(Error::misconfigured(text, "set it to `true`, `1`, `false` or `0`"))
    }

    /// The identity of a request that names none: the federated app registration, unless `AZURE_TOKEN_CREDENTIALS`
    /// excludes it, else that of `AZURE_CLIENT_ID`.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an invalid client id.
    pub fn default_identity(&self) -> Result<Identity, Error> {
        let federated = Selection::parse(self)?.includes(Credential::ManagedIdentity);
        let named = [FEDERATED_CLIENT_ID, CLIENT_ID]
            .into_iter()
            .filter(|name| federated || *name != FEDERATED_CLIENT_ID)
            .find_map(|name| self.get(name).map(|id| (name, id)));
        let Some((name, id)) = named else { return Ok(Identity::Default) };
        Identity::client_id(id).map_err(|error| {
            Error::Misconfigured(format!("{} cannot be used: {}", self.name(name), error.detail()))
        })
    }

    /// The name by which the deployer knows a variable.
    pub(crate) fn name<'a>(&'a self, variable: &'a str) -> &'a str {
        self.find(variable).and_then(|setting| setting.origin.as_deref()).unwrap_or(variable)
    }

    /// The names of all settings that are not from the environment.
    pub(crate) fn names(&self) -> SettingNames {
        let named = |setting: &Setting| Some((setting.variable.name, setting.origin.clone()?));
        SettingNames { origins: self.values.iter().filter_map(named).collect(), ignored_proxy: self.proxy }
    }

    fn find(&self, variable: &str) -> Option<&Setting> {
        self.values.iter().find(|setting| setting.variable.name == variable)
    }

    pub(crate) fn store_key(&self) -> Option<&[u8; 32]> {
        self.store_key.as_ref().map(|key| key.expose_secret())
    }

    /// The value of a variable, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.find(name).map(|setting| &setting.value).or_else(|| self.named.get(name));
        value.map(|value| value.expose_secret())
    }
}

/// Checks the characters of a value. The error does not repeat the value: it may be a secret under the wrong name.
fn check_value(variable: &Variable, name: &str, value: &str) -> Result<(), Error> {
    let is_separator = |c: char| variable.lines && matches!(c, '\n' | '\r' | '\t');
    if let Some((at, c)) = value.char_indices().find(|(_, c)| c.is_control() && !is_separator(*c)) {
        return Err(Error::misconfigured(
            format_args!("{name} has the character U+{:04X} at byte {at} of {}", u32::from(c), value.len()),
            "remove line ends and other control characters; `printf %s` adds none, `echo` does",
        ));
    }
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Error::misconfigured(format_args!("{name} is not UTF-8"), "encode it as UTF-8"));
    }
    if !variable.secret && value.starts_with(['"', '\'']) {
        return Err(Error::misconfigured(
            format_args!("{name} begins with a quote, which an env file keeps as a part of the value"),
            "remove the quotes",
        ));
    }
    Ok(())
}

/// The maximum of a variable in milliseconds: ten minutes.
pub const MAX_MS: u64 = 600_000;

/// Whether a value is enclosed in quotes, as some readers of env files keep them. A secret may contain such quotes.
pub(crate) fn is_quoted(value: &str) -> bool {
    let inside = |quote: char| value.strip_prefix(quote).is_some_and(|rest| rest.ends_with(quote));
    inside('"') || inside('\'')
}

#[cfg(test)]
mod tests {
    use super::variables::{IDENTITY_HEADER, SEND_CERTIFICATE_CHAIN};
    use super::*;
    use crate::tests::settings;

    #[test]
    fn an_empty_value_is_an_unset_one() {
        for variable in VARIABLES {
            assert!(!settings(&[(variable.name, "")]).is_set(variable.name));
        }
    }

    #[test]
    fn a_switch_is_on_or_off_by_the_words_that_azures_libraries_agree_on() {
        for (text, on) in
            [("", false), ("0", false), ("False", false), ("1", true), ("true", true), ("TRUE", true)]
        {
            let settings = settings(&[(SEND_CERTIFICATE_CHAIN, text)]);
            assert_eq!(settings.is_on(SEND_CERTIFICATE_CHAIN), Ok(on), "{text}");
        }
    }

    #[test]
    fn variables_that_are_not_the_brokers_are_not_kept() {
        assert!(!settings(&[("PATH", "/bin")]).is_set("PATH"));
    }

    #[test]
    fn settings_do_not_show_their_values() {
        assert!(!format!("{:?}", settings(&[(IDENTITY_HEADER, "hunter2")])).contains("hunter2"));
    }
}
