//! The rules of a configuration.

use http::{HeaderName, HeaderValue};
use token_broker::{Identity, RawRequest, TokenRequest};

use super::Source;
use crate::fields::{At, Fields, Wrong};
use crate::rules::{HeaderForm, Matches, Pattern, Rule};

/// # Errors
/// The field that cannot be used, and why.
pub(super) fn read_all(at: At, default: Option<&Identity>, source: &mut Source) -> Result<Vec<Rule>, Wrong> {
    let path = at.path.clone();
    let (mut rules, mut tenants) = (Vec::<Rule>::new(), Vec::new());
    for (nth, at) in (1..).zip(at.list()?) {
        let path = at.path.clone();
        let rule = rule(at.fields()?, nth, default, source, &mut tenants)?;
        if rules.iter().any(|other| other.name == rule.name) {
            return Err(format!("{path}.name is that of another rule"));
        }
        rules.push(rule);
    }
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(format!("{path} must have 1 to {MAX_RULES} rules"));
    }
    source.allow_tenants(&tenants);
    if let Some(rule) = rules.first() {
        source.default_to(rule.request.identity());
    }
    Ok(rules)
}

fn rule(
    mut fields: Fields,
    nth: usize,
    default: Option<&Identity>,
    source: &Source,
    tenants: &mut Vec<String>,
) -> Result<Rule, Wrong> {
    let name = fields.optional("name").map_or_else(|| Ok(nth.to_string()), name)?;
    let matches = Matches {
        authority: pattern(&mut fields, "authority", Pattern::of_authority)?,
        route: pattern(&mut fields, "route", Pattern::of_name)?,
        cluster: pattern(&mut fields, "cluster", Pattern::of_name)?,
    };
    let own = fields.optional("identity").map(|at| identity(at, source)).transpose()?;
    if own.is_none() && default.is_none() && !source.has_default() {
        return Err(format!("{} is missing, and the source has no client_id", fields.path_of("identity")));
    }
    let tenant_id = match fields.optional("tenant_id") {
        Some(at) if source.is_of_managed_identity() => {
            return Err(format!("{} cannot be chosen: a managed identity has one tenant", at.path));
        }
        tenant => tenant.map(At::text).transpose()?,
    };
    tenants.extend(tenant_id.clone());
    let header = fields.optional("header").map_or_else(|| Ok(HeaderForm::bearer()), header)?;
    let path = fields.path_of("scope");
    let request = TokenRequest::parse(RawRequest {
        scopes: vec![fields.required("scope")?.any_text()?],
        identity: own.or_else(|| default.cloned()).unwrap_or_default(),
        tenant_id,
        ..RawRequest::default()
    });
    fields.end()?;
    let request = request.map_err(|error| format!("{path}: {error}"))?;
    Ok(Rule::new(name, matches, request, header))
}

/// Part of the names of metrics.
fn name(at: At) -> Result<String, Wrong> {
    let (path, text) = (at.path.clone(), at.text()?);
    let is_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if text.len() <= MAX_NAME && text.bytes().all(is_name) {
        return Ok(text);
    }
    Err(format!("{path} must have 1 to {MAX_NAME} small letters, digits, `_` and `-`"))
}

fn pattern(
    fields: &mut Fields,
    field: &str,
    read: fn(&str) -> Result<Pattern, &'static str>,
) -> Result<Option<Pattern>, Wrong> {
    let Some(at) = fields.optional(field) else { return Ok(None) };
    let (path, text) = (at.path.clone(), at.text()?);
    read(&text).map(Some).map_err(|why| format!("{path} {why}"))
}

fn header(at: At) -> Result<HeaderForm, Wrong> {
    let mut fields = at.fields()?;
    let (path, name) = (fields.path_of("name"), fields.text("name")?);
    let parsed = HeaderName::try_from(&name).map_err(|_| format!("{path} is not the name of a header"))?;
    if FRAMING.contains(&parsed.as_str()) {
        return Err(format!("{path} is a header that says where a message goes or ends"));
    }
    let path = fields.path_of("prefix");
    let prefix = fields.optional("prefix").map_or_else(|| Ok(String::new()), At::text)?;
    if HeaderValue::try_from(&prefix).is_err() {
        return Err(format!("{path} has a character that no header can carry"));
    }
    fields.end()?;
    Ok(HeaderForm { name: parsed.as_str().to_owned(), prefix })
}

/// An identity that the source can have.
pub(super) fn identity(at: At, source: &Source) -> Result<Identity, Wrong> {
    let path = at.path.clone();
    let refuse = |why: &str| Err(format!("{path} cannot be chosen: {why}"));
    if at.is_text() {
        at.one_of([("system_assigned", ())])?;
        return match source.is_of_managed_identity() {
            true => Ok(Identity::SystemAssigned),
            false => refuse("the source is an app registration"),
        };
    }
    let (kind, at) =
        at.fields()?.only("client_id, object_id, resource_id; or be the text `system_assigned`")?;
    let (path_of_id, id) = (at.path.clone(), at.any_text()?);
    let identity = match &*kind {
        "client_id" if source.is_of_managed_identity() || source.is_of_any_app() => Identity::client_id(&id),
        "object_id" if source.is_of_managed_identity() => Identity::object_id(&id),
        "resource_id" if source.is_of_managed_identity() => Identity::resource_id(&id),
        "object_id" | "resource_id" if source.is_of_any_app() => {
            return refuse("an app registration is known by its client_id");
        }
        "client_id" | "object_id" | "resource_id" => {
            return refuse("the source is the app registration that it names, and no other");
        }
        _ => return Err(format!("{path_of_id} is none of client_id, object_id, resource_id")),
    };
    identity.map_err(|error| format!("{path_of_id}: {error}"))
}

/// Headers by which a request is routed and cut.
const FRAMING: [&str; 8] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive"];
const MAX_RULES: usize = 256;
const MAX_NAME: usize = 64;
