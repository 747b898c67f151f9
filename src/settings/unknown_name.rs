//! Variables with the broker's prefix: known ones, misspelled ones, and those that Kubernetes sets.

use super::VARIABLES;
use crate::model::Error;

/// The name of a variable that has the broker's prefix and is not read by token-broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownName(String);

impl UnknownName {
    /// The unknown name of a variable; none if the name is known, does not have the prefix, or the value is empty.
    pub(crate) fn of(name: &str, value: &str) -> Option<Self> {
        let is_mistake =
            !value.is_empty() && has_prefix(name) && !is_known(name) && !is_service_link(name, value);
        is_mistake.then(|| Self(name.chars().take(MAX_SHOWN).filter(|c| !c.is_control()).collect()))
    }

    /// The error, with the most similar known name.
    pub(crate) fn error(&self) -> Error {
        let Self(name) = self;
        let nearest = nearest(&name.to_ascii_uppercase());
        Error::misconfigured(
            format_args!("{name} is not a variable of token-broker; the most similar one is {nearest}"),
            "correct the name, or unset it",
        )
    }
}

/// Whether a host must pass a variable to the broker: the broker reads it, or refuses its name.
pub fn concerns_broker(name: &str, value: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.name == name) || UnknownName::of(name, value).is_some()
}

/// Whether a name has the broker's prefix, in any case: names are in lower case on Spin.
fn has_prefix(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

fn is_known(name: &str) -> bool {
    VARIABLES.iter().map(|variable| variable.name).chain(OF_OTHER_PARTS).any(|known| known == name)
}

/// Whether Kubernetes sets a variable, in each pod, for a Service whose name begins with `token-broker`.
///
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_service_link(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
        || name.rsplit_once("_PORT_").is_some_and(|(_, port)| is_port(port))
}

/// Whether a text is the end of such a name: `4141_TCP` or `4141_TCP_ADDR`, for example.
fn is_port(text: &str) -> bool {
    let Some((number, rest)) = text.split_once('_') else { return false };
    let (protocol, part) = rest.split_once('_').unwrap_or((rest, "ADDR"));
    !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && ["TCP", "UDP", "SCTP"].contains(&protocol)
        && ["PROTO", "PORT", "ADDR"].contains(&part)
}

/// The known name with the smallest Levenshtein distance.
fn nearest(name: &str) -> &'static str {
    let known = VARIABLES.iter().map(|variable| variable.name).filter(|known| known.starts_with(PREFIX));
    known.min_by_key(|known| strsim::levenshtein(known, name)).unwrap_or_default()
}

const PREFIX: &str = "TOKEN_BROKER_";

/// Variables that other parts read in the same environment: the command, and the adapters of stores.
const OF_OTHER_PARTS: [&str; 2] = ["TOKEN_BROKER_COMPONENT", "TOKEN_BROKER_STORE"];

/// The longest part of a name that is shown, in characters.
const MAX_SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(name: &str) -> Option<String> {
        UnknownName::of(name, "x").map(|unknown| unknown.error().to_string())
    }

    #[test]
    fn a_misspelled_name_is_reported_with_the_most_similar_one() {
        for (name, meant) in [
            ("TOKEN_BROKER_ALOWED_SCOPES", "TOKEN_BROKER_ALLOWED_SCOPES"),
            ("TOKEN_BROKER_ALLOWED_SCOPE", "TOKEN_BROKER_ALLOWED_SCOPES"),
            ("TOKEN_BROKER_ALLOWED_IDENTITY", "TOKEN_BROKER_ALLOWED_IDENTITIES"),
            ("TOKEN_BROKER_STORE_KEYS", "TOKEN_BROKER_STORE_KEY"),
            ("TOKEN_BROKER_TIMEOUT", "TOKEN_BROKER_TIMEOUT_MS"),
            ("TOKEN_BROKER_LOG_LEVEL", "TOKEN_BROKER_LOG"),
            ("TOKEN_BROKER_INJECT_OTHER", "TOKEN_BROKER_INJECT_OTHERS"),
            ("token_broker_allowed_scopes", "TOKEN_BROKER_ALLOWED_SCOPES"),
            ("Token_Broker_Log", "TOKEN_BROKER_LOG"),
        ] {
            let text = complaint(name).unwrap();
            assert!(text.contains(&format!(": {name} is not")), "{text}");
            assert!(text.contains(&format!("most similar one is {meant};")), "{text}");
        }
    }

    #[test]
    fn a_name_is_shown_in_part_and_without_control_characters() {
        let text = complaint(&format!("TOKEN_BROKER_\n\u{1b}{}", "X".repeat(1000))).unwrap();
        assert!(text.len() < 300 && !text.contains(char::is_control), "{text}");
    }

    #[test]
    fn known_names_other_programs_variables_and_empty_values_are_no_mistake() {
        for variable in VARIABLES {
            assert_eq!(complaint(variable.name), None, "{}", variable.name);
        }
        let others = ["PATH", "TOKEN_BROKER", "TOKEN_BROKERS_LOG", "MY_TOKEN_BROKER_LOG", "TOKEN", "ä", ""];
        for name in others.into_iter().chain(OF_OTHER_PARTS) {
            assert_eq!(complaint(name), None, "{name}");
        }
        assert_eq!(UnknownName::of("TOKEN_BROKER_ALOWED_SCOPES", ""), None);
    }

    #[test]
    fn the_variables_of_a_kubernetes_service_are_no_mistake() {
        for (value, suffixes) in [
            ("10.0.171.239", &["SERVICE_HOST", "PORT_4141_TCP_ADDR", "PORT_53_UDP_ADDR"][..]),
            ("4141", &["SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_4141_TCP_PORT"]),
            ("9090", &["SERVICE_PORT_HTTP_METRICS"]),
            ("tcp://10.0.171.239:4141", &["PORT", "PORT_4141_TCP"]),
            ("udp://10.0.171.239:4141", &["PORT"]),
            ("tcp", &["PORT_4141_TCP_PROTO"]),
            ("sctp", &["PORT_9_SCTP_PROTO"]),
        ] {
            for suffix in suffixes {
                for service in ["TOKEN_BROKER", "TOKEN_BROKER_SERVE", "TOKEN_BROKER_2"] {
                    let name = format!("{service}_{suffix}");
                    assert_eq!(UnknownName::of(&name, value), None, "{name}={value}");
                }
            }
        }
    }

    #[test]
    fn a_name_that_is_only_like_those_of_a_service_is_a_mistake() {
        for (name, value) in [
            ("TOKEN_BROKER_PORT", "4141"),
            ("TOKEN_BROKER_HOST", "10.0.171.239"),
            ("TOKEN_BROKER_PORT_HTTP", "4141"),
            ("TOKEN_BROKER_PORT_4141", "tcp://10.0.171.239:4141"),
            ("TOKEN_BROKER_PORT_4141_TCP_SCOPES", "x"),
            ("TOKEN_BROKER_PORT_4141_QUIC", "x"),
        ] {
            assert!(UnknownName::of(name, value).is_some(), "{name}={value}");
        }
        assert!(complaint("TOKEN_BROKER_").is_some());
        for variable in VARIABLES {
            assert!(!is_service_link(variable.name, "tcp://10.0.0.1:1"), "{}", variable.name);
        }
    }

    #[test]
    fn a_host_passes_on_known_and_refused_variables() {
        for (name, value, passes) in [
            ("AZURE_CLIENT_ID", "x", true),
            ("TOKEN_BROKER_ALOWED_SCOPES", "x", true),
            ("TOKEN_BROKER_COMPONENT", "x", false),
            ("TOKEN_BROKER_STORE", "x", false),
            ("TOKEN_BROKER_SERVICE_HOST", "x", false),
            ("AWS_SECRET_ACCESS_KEY", "x", false),
        ] {
            assert_eq!(concerns_broker(name, value), passes, "{name}");
        }
    }
}
