//! What the broker may see of its surroundings: the variables that it documents, and the files that they name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use token_broker::{Error, VARIABLES};
use wasmtime::Result;
use wasmtime::error::Context as _;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// The environment of a broker. Whatever is put in, only the variables that the broker documents reach it.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The broker's variables as they are set for this process.
    pub fn inherit() -> Self {
        VARIABLES
            .iter()
            .filter_map(|variable| Some((variable.name, std::env::var_os(variable.name)?)))
            // What is not UTF-8 must not count as unset: no variable's form admits the character that takes its place.
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
            .collect()
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

    /// Lend the variables and the directories to a guest.
    pub(crate) fn lend(&self, wasi: &mut WasiCtxBuilder) -> Result<()> {
        for (name, value) in &self.0 {
            wasi.env(name, value);
        }
        for directory in self.directories()? {
            lend_directory(wasi, &directory)?;
        }
        Ok(())
    }

    /// The directories of the files that variables name, and Arc's two. A mounted file changes by a change of its
    /// directory, so it is the directory that is lent.
    fn directories(&self) -> Result<Vec<PathBuf>> {
        let mut directories = Vec::from(ARC_DIRECTORIES.map(PathBuf::from));
        for variable in VARIABLES.iter().filter(|variable| variable.file) {
            if let Some(file) = self.get(variable.name) {
                directories.push(directory_of(variable.name, Path::new(file))?);
            }
        }
        directories.sort();
        directories.dedup();
        Ok(directories)
    }
}

fn directory_of(variable: &str, file: &Path) -> Result<PathBuf, Error> {
    let Some(directory) = file.parent() else {
        return Err(Error::Misconfigured(format!("{variable} names no file: {}", file.display())));
    };
    if directory == Path::new("/") {
        return Err(Error::Misconfigured(format!(
            "{variable} names {}, so the broker would have to be lent the whole file system; \
             move the file into a directory of its own",
            file.display()
        )));
    }
    Ok(if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory.to_owned() })
}

/// What does not exist is not lent; the broker then says that the file is missing.
pub(crate) fn lend_directory(wasi: &mut WasiCtxBuilder, directory: &Path) -> Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    let name = directory.to_str().with_context(|| format!("{} is not UTF-8", directory.display()))?;
    wasi.preopened_dir(directory, name, FsPerms::ReadOnly).with_context(|| {
        format!("cannot lend the directory {name} to the broker; make it readable for this process")
    })?;
    Ok(())
}

impl<N: Into<String>, V: Into<String>> Extend<(N, V)> for Environment {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        let known = |name: &String| VARIABLES.iter().any(|variable| variable.name == name);
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.0.extend(pairs.filter(|(name, _)| known(name)));
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
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Where Azure Arc's agent puts the key files of its challenges, and where the agent itself is found.
const ARC_DIRECTORIES: [&str; 2] = ["/var/opt/azcmagent/tokens", "/opt/azcmagent/bin"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_the_broker_does_not_document_are_left_out() {
        let environment = Environment::from_iter([("AZURE_CLIENT_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]);
        assert_eq!(format!("{environment:?}"), r#"{"AZURE_CLIENT_ID"}"#);
    }

    #[test]
    fn values_are_not_in_debug() {
        let environment = Environment::default().with("IDENTITY_HEADER", "sentinel-77");
        assert!(!format!("{environment:?}").contains("sentinel"));
    }

    #[test]
    fn the_directory_of_a_named_file_is_lent_but_never_the_root() {
        assert_eq!(directory_of("V", Path::new("/var/run/t/token")).unwrap(), Path::new("/var/run/t"));
        assert_eq!(directory_of("V", Path::new("token")).unwrap(), Path::new("."));
        let error = directory_of("AZURE_FEDERATED_TOKEN_FILE", Path::new("/token")).unwrap_err().to_string();
        assert!(
            error.contains("AZURE_FEDERATED_TOKEN_FILE") && error.contains("directory of its own"),
            "{error}"
        );
    }
}
