//! The broker's environment: the variables that it documents, and the files that they name.

pub(crate) mod certificate;
pub(crate) mod named_files;
pub(crate) mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use token_broker::variables::CERTIFICATE_PASSWORD;
use token_broker::{Error, VARIABLES, Variable, concerns_broker};
use tokio::time::timeout;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::environment::certificate::CertificateFile;
use crate::environment::named_files::{LentDirectory, NamedFiles};
use crate::environment::settings::Settings;

/// The environment of a broker. The broker gets the variables that it documents, those that `TOKEN_BROKER_ASSERTION_HEADERS`
/// and `TOKEN_BROKER_ASSERTION_VARIABLE` name, and unknown ones with the broker's prefix: each call then fails with an error
/// that names the unknown variable. It gets no others.
///
/// It does not get `TOKEN_BROKER_PINNED_THUMBPRINT` and `TOKEN_BROKER_VERIFIED_TOKEN_PROXY`: this host sets these itself when
/// it verifies certificates.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The broker's variables in the environment of this process.
    pub fn inherit() -> Self {
        // A value that is not UTF-8 must not count as unset: the broker refuses the replacement character.
        let lossy = |text: OsString| text.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
    }

    /// The same environment with one more variable.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extend([(name, value)]);
        self
    }

    /// The value of a variable; an empty one is unset.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The same environment, with the settings added: `explain` reads no settings, and reports these.
    /// A setting that fails ends this: calls for a token ask for it again, and return the error.
    pub(crate) async fn completed_from(&self, settings: Option<&dyn Settings>) -> Self {
        let mut completed = self.clone();
        let Some(settings) = settings else { return completed };
        for Variable { name, .. } in VARIABLES {
            if !completed.complete(name, settings).await {
                return completed;
            }
        }
        for name in completed.named_variables() {
            if !completed.complete(&name, settings).await {
                break;
            }
        }
        completed
    }

    /// Adds a setting that is not in the environment. False if it cannot be looked up.
    async fn complete(&mut self, name: &str, settings: &dyn Settings) -> bool {
        if self.get(name).is_some() {
            return true;
        }
        match timeout(SETTING_LIMIT, settings.get(name)).await {
            Ok(Ok(value)) => {
                self.extend(value.map(|value| (name, value)));
                true
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// The variables for the broker.
    fn of_broker(&self) -> impl Iterator<Item = (&String, &String)> {
        let named = self.named_variables();
        self.0.iter().filter(move |(name, value)| concerns_broker(name, value) || named.contains(name))
    }

    /// The names of variables that the broker's variables contain.
    fn named_variables(&self) -> Vec<String> {
        self.settings().named_variables()
    }

    /// The broker's variables, as the broker reads them.
    pub(crate) fn settings(&self) -> token_broker::Settings {
        let own = self.0.iter().filter(|(name, value)| concerns_broker(name, value));
        token_broker::Settings::from_pairs(own.map(|(name, value)| (name.clone(), value.clone())))
    }

    /// Lend a guest the variables, and read access to the directories of the files that they name and to Arc's two.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for the first file whose directory cannot be lent, and for a certificate that cannot be
    /// read. Everything else is lent all the same: the error fails calls for a token, and not `explain`.
    pub(crate) fn lend(&self, wasi: &mut WasiCtxBuilder) -> Result<(), Error> {
        let certificate = CertificateFile::of(self);
        for (name, value) in self.of_broker() {
            // The component gets the key in the clear.
            if certificate.is_none() || name != CERTIFICATE_PASSWORD {
                wasi.env(name, value);
            }
        }
        for directory in ARC_DIRECTORIES {
            // Only the agent's group may open them. Arc's source reports that when it is asked.
            _ = lend_directory(wasi, Path::new(directory));
        }
        let mut outcome = Ok(());
        let mut lent = BTreeSet::from(ARC_DIRECTORIES.map(PathBuf::from));
        for (variable, file) in self.files() {
            let directory = directory_of(Path::new(file));
            if lent.insert(directory.clone()) {
                let done = lend_directory(wasi, &directory).map_err(|(why, fix)| {
                    Error::misconfigured(format_args!("{variable} names {file}, {why}"), fix)
                });
                outcome = outcome.and(done);
            }
        }
        outcome.and_then(|()| certificate.map_or(Ok(()), |certificate| certificate.check()))
    }

    /// The files that the guest opens by the host's rules. Arc's keys are excepted: a link among them is refused.
    pub(crate) fn named_files(&self, lent: &[LentDirectory]) -> NamedFiles {
        NamedFiles::new(self.files().map(|(_, file)| file), lent, &ARC_DIRECTORIES)
    }

    /// The variables that name files, and the files.
    fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        VARIABLES
            .iter()
            .filter(|variable| variable.file)
            .filter_map(|variable| Some((variable.name, self.get(variable.name)?)))
    }
}

/// A mounted file changes by a change of its directory, so it is the directory that is lent.
fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(directory) if directory.as_os_str().is_empty() => PathBuf::from("."),
        Some(directory) => directory.to_owned(),
        None => file.to_owned(),
    }
}

/// A directory that does not exist is not lent; the broker then reports the missing file.
///
/// # Errors
/// The reason, as a relative clause about the file, and the fix.
fn lend_directory(wasi: &mut WasiCtxBuilder, directory: &Path) -> Result<(), (String, &'static str)> {
    if !directory.is_dir() {
        return Ok(());
    }
    if directory.canonicalize().is_ok_and(|real| real.parent().is_none()) {
        let why = "whose directory is the whole file system".to_owned();
        return Err((why, "move the file into a directory of its own"));
    }
    let unopened = |why: &dyn fmt::Display| {
        (format!("whose directory cannot be opened: {why}"), "let this user open the directory")
    };
    let name = directory.to_str().ok_or_else(|| unopened(&"its name is not UTF-8"))?;
    let lent = wasi.preopened_dir(directory, name, FsPerms::ReadOnly);
    lent.map(drop).map_err(|error| unopened(&format_args!("{error:#}")))
}

impl<N: Into<String>, V: Into<String>> Extend<(N, V)> for Environment {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.0.extend(pairs.filter(|(name, _)| !is_of_host(name)));
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut environment = Self::default();
        environment.extend(pairs);
        environment
    }
}

/// Names only: some values are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.of_broker().map(|(name, _)| name)).finish()
    }
}

/// Whether only this host sets a variable.
pub(crate) fn is_of_host(name: &str) -> bool {
    [PINNED, VERIFIED].contains(&name)
}

/// The variable that tells the broker that its secret reaches only the server with this certificate.
pub(crate) const PINNED: &str = token_broker::variables::PINNED_THUMBPRINT;
/// The variable that tells the broker that its assertion reaches only this token proxy.
pub(crate) const VERIFIED: &str = token_broker::variables::VERIFIED_TOKEN_PROXY;
/// Where Azure Arc's agent puts the key files of its challenges, and where the agent itself is found.
const ARC_DIRECTORIES: [&str; 2] = ["/var/opt/azcmagent/tokens", "/opt/azcmagent/bin"];
/// How long a host's settings may take to look up one, as in the component.
const SETTING_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_the_broker_does_not_document_are_left_out() {
        let environment = Environment::from_iter([("AZURE_CLIENT_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]);
        assert_eq!(format!("{environment:?}"), r#"{"AZURE_CLIENT_ID"}"#);
    }

    #[test]
    fn a_mistaken_name_with_the_brokers_prefix_reaches_the_broker() {
        let pairs = [
            ("TOKEN_BROKER_ALOWED_SCOPES", "a"),
            ("TOKEN_BROKER_COMPONENT", "broker.wasm"),
            ("TOKEN_BROKER_PORT", "tcp://10.0.0.1:4141"),
            (PINNED, "ab"),
            (VERIFIED, "https://kubernetes.default.svc"),
        ];
        let environment = Environment::from_iter(pairs);
        assert_eq!(format!("{environment:?}"), r#"{"TOKEN_BROKER_ALOWED_SCOPES"}"#);
    }

    #[test]
    fn every_variable_is_in_the_documentation() {
        let documentation = include_str!("../../../docs/configuration.md");
        for variable in VARIABLES {
            assert!(documentation.contains(&format!("`{}`", variable.name)), "{}", variable.name);
        }
    }

    #[test]
    fn a_variable_that_another_one_names_reaches_the_broker() {
        let pairs = [("CI_TOKEN", "a"), ("OTHER", "b"), ("TOKEN_BROKER_ASSERTION_VARIABLE", "CI_TOKEN")];
        let environment = Environment::from_iter(pairs);
        assert_eq!(format!("{environment:?}"), r#"{"CI_TOKEN", "TOKEN_BROKER_ASSERTION_VARIABLE"}"#);
    }

    #[test]
    fn values_are_not_in_debug() {
        let environment = Environment::default().with("IDENTITY_HEADER", "sentinel-77");
        assert!(!format!("{environment:?}").contains("sentinel"));
    }

    #[tokio::test]
    async fn settings_complete_the_environment_and_a_setting_that_fails_is_left_to_the_calls() {
        let settings = |name: &str| match name {
            "TOKEN_BROKER_ALLOWED_SCOPES" => Ok(Some("https://vault.azure.net".to_owned())),
            "AZURE_CLIENT_ID" => Ok(Some("of the settings".to_owned())),
            PINNED => Ok(Some("ab".repeat(20))),
            _ => Ok(None),
        };
        let environment = Environment::default().with("AZURE_CLIENT_ID", "own").with("AZURE_TENANT_ID", "");
        let completed = environment.completed_from(Some(&settings)).await;
        assert_eq!(completed.get("TOKEN_BROKER_ALLOWED_SCOPES"), Some("https://vault.azure.net"));
        assert_eq!((completed.get("AZURE_CLIENT_ID"), completed.get(PINNED)), (Some("own"), None));
        let failing = |_: &str| Err("no".to_owned());
        let completed = environment.completed_from(Some(&failing)).await;
        assert_eq!(format!("{completed:?}"), format!("{environment:?}"));
    }

    #[test]
    fn the_directory_of_a_named_file_is_lent() {
        assert_eq!(directory_of(Path::new("/var/run/t/token")), Path::new("/var/run/t"));
        assert_eq!(directory_of(Path::new("token")), Path::new("."));
    }

    #[test]
    fn the_root_is_not_lent_by_whatever_name() {
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", home.path().join("link")).unwrap();
        let through_link = home.path().join("link/token");
        let upwards = home.path().join("../../../../../../token");
        for file in
            ["/token", "/tmp/../token", through_link.to_str().unwrap(), upwards.to_str().unwrap(), "/"]
        {
            let environment = Environment::default().with("AZURE_FEDERATED_TOKEN_FILE", file);
            let error = environment.lend(&mut WasiCtxBuilder::new()).unwrap_err().to_string();
            assert!(error.contains("AZURE_FEDERATED_TOKEN_FILE") && error.contains("of its own"), "{error}");
        }
    }
}
