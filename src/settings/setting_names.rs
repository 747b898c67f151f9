//! The names by which the deployer knows the settings.

/// The names of settings from another origin than the environment. Other settings have the names of their variables.
#[derive(Debug, Default)]
pub(crate) struct SettingNames {
    pub(super) origins: Vec<(&'static str, String)>,
    pub(super) ignored_proxy: Option<&'static str>,
}

impl SettingNames {
    /// The name of a variable for the deployer.
    pub(crate) fn of<'a>(&'a self, variable: &'a str) -> &'a str {
        let name = self.origins.iter().find(|(known, _)| *known == variable);
        name.map_or(variable, |(_, name)| name)
    }

    /// The variable of a proxy that the broker sees. A component opens no connections, so only its host could use it; a
    /// host that does so does not show the variable to the broker.
    pub(crate) fn ignored_proxy(&self) -> Option<&'static str> {
        self.ignored_proxy
    }
}
