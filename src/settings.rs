//! The settings: environment variables, read once.

pub(crate) mod cloud;
mod names;
mod selection;
pub(crate) mod tenant;
mod unknown_name;
pub(crate) mod url;
pub mod variables;

use secrecy::{ExposeSecret as _, SecretBox};

pub use self::cloud::EntraHosts;
pub(crate) use self::names::SettingNames;
pub use self::selection::Credential;
pub(crate) use self::selection::Selection;
use self::unknown_name::UnknownName;
pub use self::unknown_name::concerns_broker;
use self::variables::{CLIENT_ID, FEDERATED_CLIENT_ID, LOG, TOKEN_CREDENTIALS};
pub use self::variables::{VARIABLES, Variable};
use crate::model::{Error, Identity, Level, Secret};

/// The values of the broker's variables as they were when they were read. An empty value is an unset one.
#[derive(Debug, Default)]
pub struct Settings {
    values: Vec<(&'static Variable, Secret)>,
    names: SettingNames,
    store_key: Option<SecretBox<[u8; 32]>>,
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

    /// Set a variable from another place than the environment, by which errors call it: an option of a command, a field of a
    /// file.
    pub fn set_from(&mut self, place: &str, name: &'static str, value: String) {
        self.set(name, value);
        self.names.add(name, place);
    }

    /// Set the key by which instances seal what they share, in the place of `TOKEN_BROKER_STORE_KEY`: for a host that makes
    /// it itself.
    pub fn set_store_key(&mut self, key: &[u8; 32]) {
        self.store_key = Some(SecretBox::new(Box::new(*key)));
    }

    /// What holds for all variables, before any of them is used.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a name that has the broker's prefix and is none of its variables, for a value with a
    /// control character, and for one with quotes around it that is no secret.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(unknown) = &self.unknown {
            return Err(unknown.error());
        }
        let check = |(variable, value): &(&'static Variable, Secret)| {
            check_value(variable, self.name(variable.name), value.expose_secret())
        };
        self.values.iter().try_for_each(check)
    }

    /// Whether a variable has a value.
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The URL that a variable gives, if it has a value: http or https, with a host that every reader reads alike. `form`
    /// says what the variable accepts.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] that names the variable and the accepted form.
    pub fn url(&self, name: &str, form: &str) -> Result<Option<http::Uri>, Error> {
        self.get(name).map(|text| url::absolute(self.name(name), text, form)).transpose()
    }

    /// The error of a setting with a value that cannot be used: `why` goes on after its name, `form` is the accepted form.
    pub fn refused(&self, name: &str, why: &str, form: &str) -> Error {
        url::refused(self.name(name), why, form)
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
            .ok_or_else(|| {
                Error::misconfigured(
                    format_args!("{} is not a log level", self.name(LOG)),
                    "set it to `off`, `error`, `warn`, `info` or `debug`",
                )
            })
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
        let what = format_args!("{} is neither on nor off", self.name(name));
        Err(Error::misconfigured(what, "set it to `true`, `1`, `false` or `0`"))
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
            .map_err(|error| Error::Misconfigured(format!("{} cannot be used: {error}", self.name(name))))
    }

    /// What the deployer calls a variable.
    pub(crate) fn name<'a>(&'a self, variable: &'a str) -> &'a str {
        self.names.of(variable)
    }

    pub(crate) fn names(&self) -> &SettingNames {
        &self.names
    }

    pub(crate) fn store_key(&self) -> Option<&[u8; 32]> {
        self.store_key.as_ref().map(|key| key.expose_secret())
    }

    /// The value of a variable, if it has one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(set, _)| set.name == name).map(|(_, value)| value.expose_secret())
    }
}

/// A value is not repeated: it may be a secret under the wrong name.
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

/// The longest time that a variable of milliseconds may give: ten minutes.
pub const MAX_MS: u64 = 600_000;

/// Whether a value has quotes around it, as env files keep them. A secret may begin and end with one all the same.
pub(crate) fn is_quoted(value: &str) -> bool {
    let inside = |quote: char| value.strip_prefix(quote).is_some_and(|rest| rest.ends_with(quote));
    inside('"') || inside('\'')
}

#[cfg(test)]
mod tests {
    use super::variables::{IDENTITY_HEADER, SEND_CERTIFICATE_CHAIN};
    use super::*;

    #[test]
    fn an_empty_value_is_an_unset_one() {
        for variable in VARIABLES {
            let settings = Settings::from_pairs([(variable.name.to_owned(), String::new())]);
            assert!(!settings.is_set(variable.name));
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
