//! The secrets of a case, and the search for them in everything that operators see.

use std::collections::BTreeMap;

use serde_json::Value;

use super::case::{Case, Reply};
use super::content::{Content, Raw, Text};

/// Every secret that a case gives to the component.
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    pub(crate) fn of(case: &Case) -> Self {
        let mut secrets = Self(Vec::new());
        secrets.add_env(&case.env);
        secrets.add_env(&case.settings);
        secrets.add_files(&case.files);
        for step in &case.steps {
            step.set_env.iter().for_each(|env| secrets.add_env(env));
            step.set_files.iter().for_each(|files| secrets.add_files(files));
            step.ask.iter().filter_map(|ask| ask.user_assertion.as_ref()).for_each(|text| secrets.add(text));
            for exchange in &step.http {
                exchange.set_files.iter().for_each(|files| secrets.add_files(files));
                secrets.add_reply(&exchange.reply);
            }
        }
        secrets
    }

    /// The first secret in a text, shortened for the report.
    pub(crate) fn found_in(&self, text: &str) -> Option<String> {
        let found = self.0.iter().find(|secret| text.contains(secret.as_str()))?;
        Some(found.chars().take(SHOWN).chain("...".chars()).collect())
    }

    fn add_env(&mut self, env: &BTreeMap<String, Text>) {
        for (name, Text(value)) in env {
            if SECRET_VARIABLES.iter().any(|part| name.contains(part)) {
                self.add(value);
            }
        }
    }

    fn add_files(&mut self, files: &BTreeMap<String, Content>) {
        for content in files.values() {
            if let Content::Raw(raw) = content {
                self.add(&raw.text());
            }
        }
    }

    fn add_reply(&mut self, reply: &Reply) {
        reply.body.iter().for_each(|body| self.add_json(body));
        let raw = reply.raw.as_ref().map(Raw::text).unwrap_or_default();
        match serde_json::from_str(&raw) {
            Ok(json) => self.add_json(&json),
            Err(_) => self.add_broken_json(&raw),
        }
    }

    fn add_json(&mut self, json: &Value) {
        match json {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text)
                            if SECRET_FIELDS.contains(&name.as_str()) || text.starts_with(JWT) =>
                        {
                            self.add(text);
                        }
                        _ => self.add_json(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.add_json(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The text in the quotation marks after the name of a secret field.
    fn add_broken_json(&mut self, raw: &str) {
        for name in SECRET_FIELDS {
            for (start, _) in raw.match_indices(&format!("\"{name}\"")) {
                let value = raw[start + name.len() + 2..].split('"').nth(1);
                value.into_iter().for_each(|value| self.add(value));
            }
        }
    }

    /// Line by line, because output quotes line breaks. The fences of a PEM are not secret.
    fn add(&mut self, text: &str) {
        let lines =
            text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST && !line.starts_with("-----"));
        self.0.extend(lines.map(str::to_owned));
    }
}

const SECRET_VARIABLES: [&str; 7] =
    ["HEADER", "SECRET", "PASSWORD", "STORE_KEY", "REQUEST_TOKEN", "ACCESSTOKEN", "CI_JWT"];
const SECRET_FIELDS: [&str; 5] =
    ["access_token", "refresh_token", "id_token", "client_assertion", "assertion"];
/// The beginning of every JWT whose header has no spaces.
const JWT: &str = "eyJ";

/// In bytes. Shorter secrets occur in ordinary words, so a case needs longer sentinels.
const SHORTEST: usize = 8;

/// The number of characters shown, enough to tell which secret it is.
const SHOWN: usize = 6;
