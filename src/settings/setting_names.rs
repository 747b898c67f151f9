//! The names by which the deployer knows the settings.

/// The names of settings from another origin than the environment. Other settings have the names of their variables.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingNames(Vec<(&'static str, String)>);

impl SettingNames {
    pub(super) fn add(&mut self, variable: &'static str, name: &str) {
        self.remove(variable);
        self.0.push((variable, name.to_owned()));
    }

    pub(super) fn remove(&mut self, variable: &str) {
        self.0.retain(|(known, _)| *known != variable);
    }

    /// The name of a variable for the deployer.
    pub(crate) fn of<'a>(&'a self, variable: &'a str) -> &'a str {
        let name = self.0.iter().find(|(known, _)| *known == variable);
        name.map_or(variable, |(_, name)| name)
    }
}
