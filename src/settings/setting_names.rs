//! The names by which the deployer knows the settings.

/// The names of settings from another origin than the environment. Other settings have the names of their variables.
#[derive(Debug, Default)]
pub(crate) struct SettingNames(pub(super) Vec<(&'static str, String)>);

impl SettingNames {
    /// The name of a variable for the deployer.
    pub(crate) fn of<'a>(&'a self, variable: &'a str) -> &'a str {
        let name = self.0.iter().find(|(known, _)| *known == variable);
        name.map_or(variable, |(_, name)| name)
    }
}
