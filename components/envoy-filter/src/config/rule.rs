//! The rules of a configuration.

use http::{HeaderName, HeaderValue};
use token_broker::{Identity, RawRequest, Scope, TokenRequest};

use super::SourceConfig;
use super::fields::{ConfigError, FieldValue, Fields, mistake};
use crate::rules::{HeaderTemplate, NamePattern, PatternError, RuleConditions, TokenRule};

pub(super) fn read_all(
    value: FieldValue,
    default: Option<&Identity>,
    source: &mut SourceConfig,
) -> Result<Vec<TokenRule>, ConfigError> {
    let path = value.path.clone();
    let (mut rules, mut tenants) = (Vec::<TokenRule>::new(), Vec::new());
    for (nth, value) in (1..).zip(value.list()?) {
        let path = value.path.clone();
        let rule = rule(value.fields()?, nth, default, source, &mut tenants)?;
        if rules.iter().any(|other| other.name == rule.name) {
            return Err(mistake(format_args!("{path}.name is that of another rule"), "rename one of them"));
        }
        rules.push(rule);
    }
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(mistake(
            format_args!("{path} has {} rules", rules.len()),
            format_args!("write 1 to {MAX_RULES}"),
        ));
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
    source: &SourceConfig,
    tenants: &mut Vec<String>,
) -> Result<TokenRule, ConfigError> {
    let name = fields.optional("name").map_or_else(|| Ok(nth.to_string()), name)?;
    let conditions = RuleConditions {
        authority: pattern(&mut fields, "authority", NamePattern::of_authority)?,
        route: pattern(&mut fields, "route", NamePattern::of_name)?,
        cluster: pattern(&mut fields, "cluster", NamePattern::of_name)?,
    };
    let own = fields.optional("identity").map(|value| identity(value, source)).transpose()?;
    if own.is_none() && default.is_none() && !source.has_default() {
        return Err(mistake(
            format_args!("{} is missing, and the source has no client_id", fields.path_of("identity")),
            "add one of them",
        ));
    }
    let tenant_id = match fields.optional("tenant_id") {
        Some(value) if source.is_of_managed_identity() => {
            return Err(mistake(
                format_args!("{} cannot be chosen: a managed identity has one tenant", value.path),
                "remove the field",
            ));
        }
        tenant => tenant.map(FieldValue::text).transpose()?,
    };
    tenants.extend(tenant_id.clone());
    let header = fields.optional("header").map_or_else(|| Ok(HeaderTemplate::bearer()), header)?;
    let (path, tenant_path) = (fields.path_of("scope"), fields.path_of("tenant_id"));
    let scope = fields.required("scope")?.any_text()?;
    Scope::parse(&scope).map_err(|error| format!("{path}: {}", error.detail()))?;
    let request = TokenRequest::parse(RawRequest {
        scopes: vec![scope],
        identity: own.or_else(|| default.cloned()).unwrap_or_default(),
        tenant_id,
        ..RawRequest::default()
    });
    fields.end()?;
    // Of the rest only the tenant is a text.
    let request = request.map_err(|error| format!("{tenant_path}: {}", error.detail()))?;
    Ok(TokenRule::new(name, conditions, request, header))
}

/// The name of a rule, which is a part of the names of its metrics.
fn name(value: FieldValue) -> Result<String, ConfigError> {
    let (path, text) = (value.path.clone(), value.text()?);
    let is_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if text.len() <= MAX_NAME && text.bytes().all(is_name) {
        return Ok(text);
    }
    Err(mistake(
        format_args!("{path} is not the name of a rule"),
        format_args!("use 1 to {MAX_NAME} lower-case letters, digits, `_` and `-`"),
    ))
}

fn pattern(
    fields: &mut Fields,
    field: &str,
    read: fn(&str) -> Result<NamePattern, PatternError>,
) -> Result<Option<NamePattern>, ConfigError> {
    let Some(value) = fields.optional(field) else { return Ok(None) };
    let (path, text) = (value.path.clone(), value.text()?);
    read(&text).map(Some).map_err(|PatternError { why, fix }| mistake(format_args!("{path} {why}"), fix))
}

fn header(value: FieldValue) -> Result<HeaderTemplate, ConfigError> {
    let mut fields = value.fields()?;
    let (path, name) = (fields.path_of("name"), fields.text("name")?);
    let parsed = HeaderName::try_from(&name).map_err(|_| {
        mistake(format_args!("{path} is not the name of a header"), "use letters, digits and `-`")
    })?;
    if FRAMING.contains(&parsed.as_str()) {
        return Err(mistake(
            format_args!("{path} is a header that controls where a message goes or ends"),
            "use another header",
        ));
    }
    let path = fields.path_of("prefix");
    let prefix = fields.optional("prefix").map_or_else(|| Ok(String::new()), FieldValue::text)?;
    if HeaderValue::try_from(&prefix).is_err() {
        return Err(mistake(
            format_args!("{path} has a character that no header can carry"),
            "use printable ASCII characters",
        ));
    }
    fields.end()?;
    Ok(HeaderTemplate { name: parsed.as_str().to_owned(), prefix })
}

/// An identity of the source.
pub(super) fn identity(value: FieldValue, source: &SourceConfig) -> Result<Identity, ConfigError> {
    let path = value.path.clone();
    let refuse = |why: &str, fix: &str| Err(mistake(format_args!("{path} cannot be chosen: {why}"), fix));
    if value.is_text() {
        value.one_of([("system_assigned", ())])?;
        return match source.is_of_managed_identity() {
            true => Ok(Identity::SystemAssigned),
            false => {
                refuse("the source is an app registration", "name it by its client_id, or remove the field")
            }
        };
    }
    let (kind, value) =
        value.fields()?.only("client_id, object_id, resource_id; or be the text `system_assigned`")?;
    let (path_of_id, id) = (value.path.clone(), value.any_text()?);
    let identity = match &*kind {
        "client_id" if source.is_of_managed_identity() || source.is_of_any_app() => Identity::client_id(&id),
        "object_id" if source.is_of_managed_identity() => Identity::object_id(&id),
        "resource_id" if source.is_of_managed_identity() => Identity::resource_id(&id),
        "object_id" | "resource_id" if source.is_of_any_app() => {
            return refuse("the source is an app registration", "name it by its client_id");
        }
        "client_id" | "object_id" | "resource_id" => {
            return refuse("the source is one app registration", "remove the field");
        }
        _ => {
            return Err(mistake(
                format_args!("{path_of_id} is not a kind of id"),
                "use client_id, object_id or resource_id",
            ));
        }
    };
    identity.map_err(|error| format!("{path_of_id}: {}", error.detail()))
}

/// The headers that tell where a request goes and where it ends.
const FRAMING: [&str; 8] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive"];
const MAX_RULES: usize = 256;
const MAX_NAME: usize = 64;
