//! The rules that give a request its token by its host: built in for Azure's services, and set by the deployer.

use std::borrow::Cow;

use secrecy::ExposeSecret as _;
use token_broker::variables::{INJECT, INJECT_OTHERS};
use token_broker::wire::percent_encoded;
use token_broker::{Error, Identity, Scope, Secret, Settings};

use crate::azure_services;
use crate::pattern::{Key, Pattern};
use crate::target::Target;

/// The rules of a deployment, of which the most specific one that fits a request counts: a host before a domain, a
/// longer domain before a shorter one, and one that was said before one that is built in.
#[derive(Clone, Debug)]
pub struct Rules {
    /// By pattern, for a binary search.
    said: Vec<(Pattern, Rule)>,
    with_built_in: bool,
    refuses_others: bool,
}

/// The token of the requests to a host, or to all hosts of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pattern: Cow<'static, str>,
    /// None: they get no token.
    scope: Option<Cow<'static, str>>,
    identity: Identity,
    form: HeaderForm,
    replaces: bool,
}

/// How a service wants to be shown a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeaderForm {
    /// `Bearer`, as everywhere.
    #[default]
    Bearer,
    /// As a signature of type `aad`: Cosmos DB.
    CosmosDb,
}

impl HeaderForm {
    /// The value of `Authorization` that shows a service a token.
    pub fn authorization(self, token_type: &str, token: &Secret) -> Secret {
        let token = token.expose_secret();
        match self {
            Self::Bearer => format!("{token_type} {token}"),
            Self::CosmosDb => format!("{COSMOS_DB}{}", percent_encoded(token)),
        }
        .into()
    }
}

/// A rule as it is said, with texts that are still unchecked.
#[derive(Clone, Debug, Default)]
pub struct RawRule {
    /// `my.vault.azure.net` or `*.vault.azure.net`, with `http://` before it and a port behind it if it is so.
    pub pattern: String,
    /// The scope of its tokens. None: its requests pass without a token.
    pub scope: Option<String>,
    /// Whose token it is.
    pub identity: Identity,
    /// How the token is shown.
    pub form: HeaderForm,
    /// An `Authorization` of the application is replaced. Otherwise it stays, and no token is added.
    pub replaces: bool,
}

impl Rules {
    /// The variables from which [`Rules::parse`] reads them.
    pub const VARIABLES: [&str; 2] = [INJECT, INJECT_OTHERS];

    /// The rules that the variables say.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] that names the variable, the entry and the accepted form.
    pub fn parse(settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        let refuses_others = refuses_others(settings)?;
        let Some(text) = settings.get(INJECT) else { return Self::new([], true, refuses_others) };
        let (extends, list) = text.trim_start().strip_prefix('+').map_or((false, text), |list| (true, list));
        let rules: Vec<_> = list.split_whitespace().map(entry).collect::<Result<_, _>>()?;
        if rules.is_empty() {
            return Err(Error::misconfigured(
                format_args!("{INJECT} has no entry"),
                format_args!("unset it for the built-in rules, or write {FORM}"),
            ));
        }
        Self::new(rules, extends, refuses_others)
    }

    /// Rules from their parts, together with the built-in ones or alone. `refuses_others`: a request for which there is
    /// no rule is refused, and otherwise passes without a token.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] that names the rule and the accepted form.
    pub fn new(
        rules: impl IntoIterator<Item = RawRule>,
        with_built_in: bool,
        refuses_others: bool,
    ) -> Result<Self, Error> {
        let mut said = Vec::new();
        for raw in rules {
            said.push(checked(raw)?);
        }
        said.sort_by(|(one, _), (other, _)| one.key().cmp(&other.key()));
        let twice = said.windows(2).find_map(|pair| match pair {
            [(one, rule), (other, _)] if one == other => Some(&rule.pattern),
            _ => None,
        });
        match twice {
            Some(pattern) => Err(unusable(pattern, "there are two rules for it")),
            None => Ok(Self { said, with_built_in, refuses_others }),
        }
    }

    /// Whether a request for which there is no rule is refused.
    pub fn refuses_others(&self) -> bool {
        self.refuses_others
    }

    /// The rule for a request; none if it passes without a token and without a rule.
    ///
    /// # Errors
    /// [`Error::Denied`] if there is none and such requests are refused.
    pub fn find(&self, target: &Target) -> Result<Option<Cow<'_, Rule>>, Error> {
        let key = Key::of(target);
        let found = self.at(key).or_else(|| key.domains().find_map(|domain| self.at(domain)));
        match found {
            None if self.refuses_others => Err(Error::denied(
                format_args!("there is no rule for {target}, and {INJECT_OTHERS} refuses such requests"),
                format_args!(
                    "ask the deployer to add one to {INJECT}, `{target}=none` to let them pass without a token"
                ),
            )),
            found => Ok(found),
        }
    }

    fn at(&self, key: Key<'_>) -> Option<Cow<'_, Rule>> {
        let said = self.said.binary_search_by(|(said, _)| said.key().cmp(&key)).ok();
        let said = said.and_then(|index| self.said.get(index)).map(|(_, rule)| Cow::Borrowed(rule));
        said.or_else(|| if self.with_built_in { azure_services::at(key).map(Cow::Owned) } else { None })
    }
}

impl Rule {
    /// The rule's host or domain, as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The scope of its tokens; none if its requests get no token.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Whose token it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How the token is shown.
    pub fn form(&self) -> HeaderForm {
        self.form
    }

    /// Whether a request gets a token that brings a credential of its own: an `Authorization`, or the signature in the
    /// query that makes a URL of Storage a credential.
    pub fn applies(&self, has_authorization: bool, path_with_query: &str) -> bool {
        self.replaces || !(has_authorization || has_signature(path_with_query))
    }

    pub(crate) fn built_in(pattern: &'static str, audience: &'static str, form: HeaderForm) -> Self {
        let scope = Some(Cow::Borrowed(audience));
        Self { pattern: pattern.into(), scope, identity: Identity::Default, form, replaces: false }
    }
}

fn has_signature(path_with_query: &str) -> bool {
    let query = path_with_query.split_once('?').map(|(_, query)| query).unwrap_or_default();
    query.split('&').any(|parameter| parameter.starts_with("sig="))
}

fn refuses_others(settings: &Settings) -> Result<bool, Error> {
    match settings.get(INJECT_OTHERS) {
        None | Some("pass") => Ok(false),
        Some("refuse") => Ok(true),
        Some(_) => Err(Error::misconfigured(
            format_args!("{INJECT_OTHERS} is neither `pass` nor `refuse`"),
            "set it to one of them, or unset it",
        )),
    }
}

/// `pattern=scope`, and options behind semicolons.
fn entry(text: &str) -> Result<RawRule, Error> {
    let refuse = |why: &str| unusable(text, why);
    let (pattern, rest) = text.split_once('=').ok_or_else(|| refuse("it has no scope"))?;
    let mut parts = rest.split(';');
    let scope = parts.next().filter(|scope| *scope != NO_TOKEN).map(str::to_owned);
    let mut rule = RawRule { pattern: pattern.to_owned(), scope, ..RawRule::default() };
    for option in parts {
        let identity = match option.split_once('=') {
            None if option == "replace" => {
                rule.replaces = true;
                continue;
            }
            None if option == "cosmos-db" => {
                rule.form = HeaderForm::CosmosDb;
                continue;
            }
            None if option == "system-assigned" => Ok(Identity::SystemAssigned),
            Some(("client-id", id)) => Identity::client_id(id),
            Some(("object-id", id)) => Identity::object_id(id),
            Some(("resource-id", id)) => Identity::resource_id(id),
            _ => return Err(refuse(&format!("`;{option}` is not an option"))),
        };
        if rule.identity != Identity::Default {
            return Err(refuse("it names two identities"));
        }
        rule.identity = identity.map_err(|error| part_refused(text, &error))?;
    }
    Ok(rule)
}

fn checked(raw: RawRule) -> Result<(Pattern, Rule), Error> {
    let pattern = Pattern::parse(&raw.pattern).map_err(|why| unusable(&raw.pattern, &why))?;
    if let Some(scope) = &raw.scope {
        let parsed = Scope::parse(scope).map_err(|error| part_refused(&raw.pattern, &error))?;
        if let Some((why, _)) = parsed.flaw() {
            return Err(unusable(&raw.pattern, &format!("its scope {scope} {why}")));
        }
    } else if raw.identity != Identity::Default || raw.replaces || raw.form != HeaderForm::Bearer {
        return Err(unusable(&raw.pattern, "it has options for a token, and `none` for a scope"));
    }
    let RawRule { scope, identity, form, replaces, .. } = raw;
    let rule = Rule { pattern: raw.pattern.into(), scope: scope.map(Cow::Owned), identity, form, replaces };
    Ok((pattern, rule))
}

fn unusable(rule: &str, why: &str) -> Error {
    let what = format_args!("{INJECT} has the rule `{rule}`, which cannot be used: {why}");
    Error::misconfigured(what, format_args!("write a rule as {FORM}"))
}

/// For an error that has a fix of its own.
fn part_refused(rule: &str, error: &Error) -> Error {
    let detail = error.detail();
    Error::Misconfigured(format!("{INJECT} has the rule `{rule}`, which cannot be used: {detail}"))
}

const FORM: &str = "`host=scope`, where the host may begin with `*.` or `http://` and end with a port, the scope may be \
                    `none`, and behind it may come `;system-assigned`, `;client-id=ID`, `;object-id=ID`, \
                    `;resource-id=ID`, `;replace` and `;cosmos-db`";
const NO_TOKEN: &str = "none";
/// <https://learn.microsoft.com/rest/api/cosmos-db/access-control-on-cosmosdb-resources>
const COSMOS_DB: &str = "type%3Daad%26ver%3D1.0%26sig%3D";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn parse(list: &str) -> Result<Rules, Error> {
        Rules::parse(&Settings::from_pairs([(INJECT.to_owned(), list.to_owned())]))
    }

    pub(crate) fn rules(list: &str) -> Rules {
        parse(list).unwrap()
    }

    pub(crate) fn target(url: &str) -> Target {
        let (scheme, rest) = url.split_once("://").unwrap();
        Target::parse(Some(scheme), rest.split('/').next().unwrap()).unwrap()
    }

    fn scope(rules: &Rules, url: &str) -> Option<String> {
        rules.find(&target(url)).unwrap()?.scope().map(str::to_owned)
    }

    #[test]
    fn the_services_of_the_three_clouds_are_known_without_a_word() {
        let rules = rules("");
        for (url, audience) in [
            ("https://my.vault.azure.net", "https://vault.azure.net"),
            ("https://MY.Vault.Azure.Net./", "https://vault.azure.net"),
            ("https://my.vault.azure.net:443", "https://vault.azure.net"),
            ("https://my.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net"),
            ("https://my.managedhsm.azure.cn", "https://managedhsm.azure.cn"),
            ("https://a.blob.core.windows.net", "https://storage.azure.com"),
            ("https://a.z12.blob.storage.azure.net", "https://storage.azure.com"),
            ("https://a.table.core.chinacloudapi.cn", "https://storage.azure.com"),
            ("https://a.servicebus.usgovcloudapi.net", "https://servicebus.azure.net"),
            ("https://a.documents.azure.com", "https://cosmos.azure.com"),
            ("https://management.azure.com", "https://management.azure.com"),
            ("https://management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net"),
            ("https://a.westeurope.kusto.windows.net", "https://kusto.kusto.windows.net"),
            ("https://graph.microsoft.com", "https://graph.microsoft.com"),
        ] {
            assert_eq!(scope(&rules, url).as_deref(), Some(audience), "{url}");
        }
    }

    #[test]
    fn no_token_goes_to_a_host_that_only_looks_like_one() {
        let rules = rules("");
        for url in [
            "https://vault.azure.net",
            "http://my.vault.azure.net",
            "https://my.vault.azure.net:8443",
            "http://my.vault.azure.net:443",
            "ws://my.vault.azure.net:443",
            "https://my.vault.azure.net.example",
            "https://myvault.azure.net.example",
            "https://xvault.azure.net",
            "https://a.management.azure.com",
            "https://management.azure.com.example",
            "https://a.azurewebsites.net",
            "https://a.azurecr.io",
            "https://127.0.0.1",
            "https://[::1]",
        ] {
            assert_eq!(rules.find(&target(url)), Ok(None), "{url}");
        }
    }

    #[test]
    fn a_list_stands_in_the_place_of_the_built_in_rules_or_before_them() {
        let alone = rules("my.vault.azure.net=https://a");
        assert_eq!(scope(&alone, "https://my.vault.azure.net").as_deref(), Some("https://a"));
        assert_eq!(scope(&alone, "https://a.blob.core.windows.net"), None);
        for list in [
            "+my.vault.azure.net=https://a",
            " + my.vault.azure.net=https://a ",
            "+\nmy.vault.azure.net=https://a",
        ] {
            let both = rules(list);
            assert_eq!(scope(&both, "https://my.vault.azure.net").as_deref(), Some("https://a"));
            assert_eq!(
                scope(&both, "https://other.vault.azure.net").as_deref(),
                Some("https://vault.azure.net")
            );
        }
    }

    #[test]
    fn the_most_specific_rule_counts() {
        let rules = rules(
            "+*.azure.net=https://domain *.b.example=https://b *.a.b.example=https://a x.a.b.example=https://x \
             *.vault.azure.net=https://mine http://x.a.b.example=https://plain x.a.b.example:8443=https://port",
        );
        for (url, expected) in [
            ("https://y.b.example", Some("https://b")),
            ("https://y.z.b.example", Some("https://b")),
            ("https://y.a.b.example", Some("https://a")),
            ("https://a.b.example", Some("https://b")),
            ("https://x.a.b.example", Some("https://x")),
            ("http://x.a.b.example", Some("https://plain")),
            ("https://x.a.b.example:8443", Some("https://port")),
            ("https://x.a.b.example:8444", None),
            ("https://b.example", None),
            ("https://my.vault.azure.net", Some("https://mine")),
            ("https://my.managedhsm.azure.net", Some("https://managedhsm.azure.net")),
            ("https://x.azure.net", Some("https://domain")),
        ] {
            assert_eq!(scope(&rules, url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_its_spelling_does_not_matter() {
        let rules = rules("http://127.0.0.1:8080=https://a http://[::1]:8080=https://b");
        for url in ["http://127.0.0.1:8080", "http://2130706433:8080", "http://[::ffff:127.0.0.1]:8080"] {
            assert_eq!(scope(&rules, url).as_deref(), Some("https://a"), "{url}");
        }
        assert_eq!(scope(&rules, "http://[0:0::1]:8080").as_deref(), Some("https://b"));
        assert_eq!(scope(&rules, "http://localhost:8080"), None);
    }

    #[test]
    fn a_request_without_a_rule_passes_or_is_refused_as_configured() {
        let others = |value: &str| {
            let pairs = [(INJECT_OTHERS, value), (INJECT, "+a.example=none")];
            Rules::parse(&Settings::from_pairs(
                pairs.map(|(name, value)| (name.to_owned(), value.to_owned())),
            ))
        };
        let find =
            |value: &str, url: &str| others(value).unwrap().find(&target(url)).map(|rule| rule.is_some());
        assert_eq!(find("", "https://b.example"), Ok(false));
        assert_eq!(find("pass", "https://b.example"), Ok(false));
        let error = find("refuse", "https://b.example").unwrap_err();
        assert!(error.kind() == "denied" && error.to_string().contains("b.example"), "{error}");
        assert!(error.to_string().contains(INJECT_OTHERS), "{error}");
        assert_eq!(find("refuse", "https://a.example"), Ok(true));
        assert_eq!(find("refuse", "https://my.vault.azure.net"), Ok(true));
        assert!(others("deny").unwrap_err().to_string().contains(INJECT_OTHERS));
    }

    #[test]
    fn options_say_whose_token_it_is_and_how_it_is_shown() {
        let rule =
            |entry: &str| rules(entry).find(&target("https://a.example")).unwrap().unwrap().into_owned();
        assert_eq!(*rule("a.example=https://a").identity(), Identity::Default);
        assert_eq!(*rule("a.example=https://a;system-assigned").identity(), Identity::SystemAssigned);
        assert_eq!(*rule("a.example=https://a;client-id=x").identity(), Identity::client_id("x").unwrap());
        assert_eq!(*rule("a.example=https://a;object-id=x").identity(), Identity::object_id("x").unwrap());
        let id = "/subscriptions/s/resourceGroups/r=(1)/providers/x";
        let by_resource = rule(&format!("a.example=https://a;resource-id={id};replace"));
        assert_eq!(*by_resource.identity(), Identity::resource_id(id).unwrap());
        assert!(by_resource.applies(true, "/"));
        assert_eq!(rule("a.example=none").scope(), None);
        assert_eq!(rule("a.example=https://a?b=c").scope(), Some("https://a?b=c"));
    }

    #[test]
    fn a_token_is_shown_as_the_service_reads_it() {
        let shown = |url: &str| {
            let rules = rules("");
            let rule = rules.find(&target(url)).unwrap().unwrap();
            rule.form().authorization("Bearer", &"e30.a_b-c+/=".into()).expose_secret().to_owned()
        };
        assert_eq!(shown("https://my.vault.azure.net"), "Bearer e30.a_b-c+/=");
        assert_eq!(
            shown("https://a.documents.azure.com"),
            "type%3Daad%26ver%3D1.0%26sig%3De30.a_b-c%2B%2F%3D"
        );
    }

    #[test]
    fn a_request_that_brings_its_own_credential_gets_none_unless_the_rule_says_so() {
        let rules = rules("a.example=https://a b.example=https://b;replace");
        let applies = |host: &str, has_authorization, path: &str| {
            let rule = rules.find(&target(&format!("https://{host}"))).unwrap().unwrap().into_owned();
            rule.applies(has_authorization, path)
        };
        assert!(applies("a.example", false, "/c/b?sigma=1&x=sig=2"));
        assert!(!applies("a.example", true, "/"));
        assert!(!applies("a.example", false, "/c/b?sv=2023&sig=x"));
        assert!(!applies("a.example", false, "/c/b?sig="));
        assert!(applies("b.example", true, "/c/b?sig=x"));
    }

    #[test]
    fn a_rule_that_cannot_be_used_is_refused_with_the_variable_the_entry_and_one_fix() {
        for entry in [
            "a.example",
            "a.example=",
            "=https://a",
            "a.example=https://a;",
            "a.example=https://a;replaced",
            "a.example=https://a;client-id=",
            "a.example=https://a;client-id=x;system-assigned",
            "a.example=\"",
            "a.example=vault.azure.net",
            "a.example=https://*.vault.azure.net",
            "a.example=https://a,b.example=https://b",
            "a.example=none;replace",
            "a.example=none;system-assigned",
            "*=https://a",
            "*.=https://a",
            "*.com=https://a",
            "*.1.2.3.4=https://a",
            "a.*.example=https://a",
            "*.*.example=https://a",
            "*a.example=https://a",
            "ftp://a.example=https://a",
            "https://a.example/=https://a",
            "https://a.example/path=https://a",
            "user@a.example=https://a",
            "a.example:=https://a",
            "a.example:x=https://a",
            "a..example=https://a",
            "1.2.3.4.5=https://a",
        ] {
            let error = parse(&format!("ok.example=https://ok {entry}")).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.kind(), "misconfigured", "{entry}");
            let named = entry.split_whitespace().last().unwrap().split('=').next().unwrap();
            assert!(text.contains(INJECT) && text.contains(named), "{text}");
            // An id or a scope that is refused by itself has a fix of its own.
            assert!(text.contains("; fix: ") && !text.contains("invalid-request"), "{text}");
            assert_eq!(text.matches("; fix: ").count(), 1, "{text}");
        }
        let twice = parse("a.example=https://a A.EXAMPLE.:443=https://b").unwrap_err().to_string();
        assert!(twice.contains("two rules"), "{twice}");
        for list in [" ", "+", " + "] {
            assert!(parse(list).unwrap_err().to_string().contains("has no entry"), "{list:?}");
        }
    }
}
