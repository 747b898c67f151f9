//! What the deployer calls the settings.

use std::rc::Rc;

/// The names of settings that come from another place than the environment. Every other one has its variable's name.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingNames(Rc<Vec<(&'static str, String)>>);

impl SettingNames {
    pub(super) fn add(&mut self, variable: &'static str, place: &str) {
        let names = Rc::make_mut(&mut self.0);
        names.retain(|(known, _)| *known != variable);
        names.push((variable, place.to_owned()));
    }

    /// The name of a variable's setting.
    pub(crate) fn of<'a>(&'a self, variable: &'a str) -> &'a str {
        let place = self.0.iter().find(|(known, _)| *known == variable);
        place.map_or(variable, |(_, place)| place)
    }
}
