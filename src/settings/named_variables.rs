//! Variables whose names the deployer chooses, since another platform sets them: settings contain their names.

use super::Settings;
use super::variables::{ASSERTION_HEADERS, ASSERTION_VARIABLE};
use crate::model::Secret;

/// The values of such variables, by name.
#[derive(Debug, Default)]
pub(super) struct NamedValues(Vec<(String, Secret)>);

impl NamedValues {
    pub(super) fn get(&self, name: &str) -> Option<&Secret> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) fn set(&mut self, name: &str, value: String) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.into()));
    }
}

impl Settings {
    /// The names of further variables that the settings contain. A host passes these on as well.
    pub fn named_variables(&self) -> Vec<String> {
        let headers = self.get(ASSERTION_HEADERS).unwrap_or_default().lines();
        let in_headers = headers.filter_map(|header| named_at_end(header).map(|(_, name)| name));
        self.get(ASSERTION_VARIABLE).into_iter().chain(in_headers).map(str::to_owned).collect()
    }
}

/// The text before the `$NAME` at the end of a text, and the name.
pub(crate) fn named_at_end(text: &str) -> Option<(&str, &str)> {
    text.trim_end().rsplit_once('$').filter(|(_, name)| is_name(name))
}

/// Whether a text is the name of a variable for every shell (POSIX, 3.216).
pub(crate) fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(is_part) && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::settings;

    const HEADERS: &str = "Authorization: Bearer $CI_TOKEN\nMetadata-Flavor: Google\n X: $X_1 \nPrice: 5$";

    #[test]
    fn the_settings_name_further_variables() {
        assert_eq!(settings(&[(ASSERTION_HEADERS, HEADERS)]).named_variables(), ["CI_TOKEN", "X_1"]);
        assert_eq!(settings(&[(ASSERTION_VARIABLE, "CI_TOKEN")]).named_variables(), ["CI_TOKEN"]);
        assert!(settings(&[("CI_TOKEN", "secret")]).named_variables().is_empty());
    }

    #[test]
    fn the_values_of_named_variables_are_kept_in_whatever_order_they_come() {
        let pairs = [("CI_TOKEN", "secret"), (ASSERTION_VARIABLE, "CI_TOKEN"), ("OTHER", "x")];
        for pairs in [pairs.to_vec(), pairs.into_iter().rev().collect()] {
            let settings = settings(&pairs);
            assert_eq!((settings.get("CI_TOKEN"), settings.get("OTHER")), (Some("secret"), None));
            assert!(!format!("{settings:?}").contains("\"secret\""));
        }
        assert_eq!(settings(&[("CI_TOKEN", ""), (ASSERTION_VARIABLE, "CI_TOKEN")]).get("CI_TOKEN"), None);
    }

    #[test]
    fn a_name_is_one_that_every_shell_knows() {
        for (text, is_one) in
            [("A", true), ("_a1", true), ("1A", false), ("", false), ("A-B", false), ("Ä", false)]
        {
            assert_eq!(is_name(text), is_one, "{text}");
        }
    }
}
