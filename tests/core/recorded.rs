//! Recorded responses of Azure, `tests/recorded/`, have the results of `expected.json`.

#![allow(clippy::disallowed_methods, reason = "the bans are for the core; a test reads files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use token_broker::{Body, Error, ExposeSecret as _, Grant, Identity, RawRequest};

use crate::fake::{Reply, START, World, json};
use crate::stage::{Outcome, VAULT, raw, stage};

#[test]
fn each_answer_comes_out_as_expected() {
    let expected = Expected::read();
    assert!(!expected.answers.is_empty());
    let differing = expected.answers.iter().map(|(name, answer)| (name, answer.differences(name, &expected)));
    let differing: Vec<_> = differing.filter(|(_, differences)| !differences.is_empty()).collect();
    assert!(differing.is_empty(), "{} of {}: {differing:#?}", differing.len(), expected.answers.len());
}

#[test]
fn each_recorded_tokens_claims_match_its_identity_and_audience() {
    let expected = Expected::read();
    assert!(!expected.tokens.is_empty());
    for (name, wanted) in expected.tokens {
        let token = Recorded::read(&name).0["token"].as_str().unwrap().to_owned();
        let audience = wanted.audience.as_deref().unwrap_or("https://any.example");
        for identity in &wanted.fits {
            let (outcome, log) = given(&token, audience, identity);
            assert!(outcome.is_ok() && !log.contains("warn"), "{name} {identity}: {outcome:?} {log}");
        }
        for (claim, identity) in &wanted.differs {
            let error = given(&token, audience, identity).0.unwrap_err().to_string();
            assert!(error.contains(&format!("its claim {claim} is `")), "{name} {identity}: {error}");
        }
        let (outcome, log) = given(&token, "https://other.example", &wanted.fits[0]);
        let warns = log.contains(r#""level":"warn","event":"unexpected audience""#);
        assert_eq!((outcome.is_ok(), warns), (true, wanted.audience.is_some()), "{name}: {log}");
    }
}

#[test]
fn each_recorded_file_is_used_or_has_a_reason_not_to_be() {
    let expected = Expected::read();
    let before = expected.deployments.values().flat_map(|deployment| &deployment.before);
    let named: Vec<&String> = expected
        .answers
        .keys()
        .chain(expected.challenges.keys())
        .chain(expected.tokens.keys())
        .chain(expected.elsewhere.keys())
        .collect();
    let distinct: BTreeSet<String> = named.iter().copied().chain(before).cloned().collect();
    assert_eq!(distinct, names(), "what expected.json names, and the files");
    assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), named.len(), "a file is in two places");
    assert!(expected.elsewhere.values().all(|reason| !reason.is_empty()));
}

/// The result of a token response of IMDS.
fn given(token: &str, audience: &str, identity: &Value) -> (Outcome, String) {
    let body = serde_json::json!({ "access_token": token, "expires_in": "3600", "token_type": "Bearer" });
    let (world, broker) = stage(&[], [json(200, &body.to_string())]);
    let request = RawRequest { identity: identity_of(identity), ..raw(&format!("{audience}/.default")) };
    (world.ask(&broker, request), world.log())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    deployments: BTreeMap<String, Deployment>,
    answers: BTreeMap<String, Answer>,
    /// Tested in `crates/egress`, where they are parsed.
    challenges: BTreeMap<String, IgnoredAny>,
    tokens: BTreeMap<String, Claims>,
    /// The recordings that are not tested here, with the reason.
    elsewhere: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deployment {
    env: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    ask: Ask,
    /// The responses before this one.
    #[serde(default)]
    before: Vec<String>,
    now: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    deployment: String,
    #[serde(default)]
    ask: Ask,
    /// The time, in Unix seconds.
    now: Option<u64>,
    /// The number of requests, each with this response.
    #[serde(default = "once")]
    times: usize,
    /// The status, if the recording has none.
    #[serde(rename = "read-as")]
    read_as: Option<u16>,
    /// The envelope, if the recording has only a message.
    wrap: Option<Wrap>,
    then: Then,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Ask {
    scopes: Option<Vec<String>>,
    identity: Option<Value>,
    user_assertion: Option<String>,
    enable_cae: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrap {
    status: u16,
    error: Option<String>,
    /// The key of the message.
    words: String,
}

/// The expected result, in the vocabulary of conformance cases. Absent fields are not checked.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Then {
    /// `as-sent`: the id of the response.
    token: Option<String>,
    expires_on: Option<u64>,
    error: Option<String>,
    status: Option<u16>,
    #[serde(deserialize_with = "given_or_null")]
    code: Option<Option<String>>,
    correlation_id: Option<String>,
    message_contains: Vec<String>,
    message_lacks: Vec<String>,
    remedy_contains: Vec<String>,
    remedy_lacks: Vec<String>,
    retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    audience: Option<String>,
    fits: Vec<Value>,
    differs: BTreeMap<String, Value>,
}

fn once() -> usize {
    1
}

fn given_or_null<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Expected {
    fn read() -> Self {
        serde_json::from_str(&std::fs::read_to_string(directory().join("expected.json")).unwrap()).unwrap()
    }
}

impl Answer {
    /// The differences from the expected result.
    fn differences(&self, name: &str, expected: &Expected) -> Vec<String> {
        let deployment = &expected.deployments[&self.deployment];
        let (world, file) = (World::new(), Recorded::read(name));
        let now = self.now.or(deployment.now).unwrap_or(START);
        world.set_clock(Duration::from_secs(now));
        for (path, content) in &deployment.files {
            world.file(path, content);
        }
        let before = deployment.before.iter().map(|name| Recorded::read(name).reply(None, None));
        let replies = (0..self.times).map(|_| file.reply(self.read_as, self.wrap.as_ref()));
        let replies: Vec<Reply> = before.chain(replies).collect();
        let requests = replies.len();
        world.script(replies);
        let pairs: Vec<_> = deployment.env.iter().map(|(name, value)| (&**name, &**value)).collect();
        let broker = world.broker(&pairs);
        let outcome = world.ask(&broker, self.request(&deployment.ask));
        let mut differences = match &outcome {
            Ok(grant) => self.then.differences_of_token(grant, &file),
            Err(error) => self.then.differences_of_error(error),
        };
        differences.extend(differs("requests", &requests, &world.requests()));
        differences
    }

    fn request(&self, deployed: &Ask) -> RawRequest {
        RawRequest {
            scopes: self.ask.scopes.clone().unwrap_or_else(|| vec![VAULT.to_owned()]),
            identity: self.ask.identity.as_ref().map(identity_of).unwrap_or_default(),
            enable_cae: self.ask.enable_cae,
            user_assertion: deployed.user_assertion.clone().map(Into::into),
            ..RawRequest::default()
        }
    }
}

impl Then {
    fn differences_of_token(&self, grant: &Grant, file: &Recorded) -> Vec<String> {
        let mut differences = Vec::new();
        let body: Value = serde_json::from_str(file.0["response"]["body"].as_str().unwrap()).unwrap();
        differences.extend(differs("token", &self.token.as_deref(), &Some("as-sent")));
        let sent = body["access_token"].as_str().unwrap();
        differences.extend(differs("token", &sent, &grant.token.secret().expose_secret()));
        differences.extend(differs("expires-on", &self.expires_on, &Some(grant.token.expires_on())));
        differences
    }

    fn differences_of_error(&self, error: &Error) -> Vec<String> {
        let mut differences = Vec::new();
        let last = error.failures().last().cloned().unwrap_or_default();
        differences.extend(differs("error", &self.error.as_deref(), &Some(error.kind())));
        if self.status.is_some() {
            differences.extend(differs("status", &self.status, &last.status));
        }
        if let Some(code) = &self.code {
            differences.extend(differs("code", code, &last.code));
        }
        if self.correlation_id.is_some() {
            differences.extend(differs("correlation-id", &self.correlation_id, &last.correlation_id));
        }
        if let Some(wait) = self.retry_after_ms {
            let wait = Some(Duration::from_millis(wait));
            differences.extend(differs("retry-after-ms", &wait, &error.retry_after()));
        }
        let remedy = error.remedy().unwrap_or_default();
        for (text, parts, holds) in [
            (&*last.message, &self.message_contains, true),
            (&*last.message, &self.message_lacks, false),
            (remedy, &self.remedy_contains, true),
            (remedy, &self.remedy_lacks, false),
        ] {
            let wrong = parts.iter().filter(|part| text.contains(part.as_str()) != holds);
            differences
                .extend(wrong.map(|part| format!("{part:?} must be in it: {holds}, and it is {text:?}")));
        }
        differences
    }
}

fn differs<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, got: &T) -> Option<String> {
    (wanted != got).then(|| format!("{what} must be {wanted:?} and is {got:?}"))
}

/// A recorded file.
struct Recorded(Value);

impl Recorded {
    fn read(name: &str) -> Self {
        let path = directory().join(format!("{name}.json"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(serde_json::from_str(&text).unwrap())
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0["response"]["headers"].as_array().into_iter().flatten();
        pairs.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
    }

    fn reply(&self, status: Option<u16>, wrap: Option<&Wrap>) -> Reply {
        let recorded = self.0["response"]["status"].as_u64().map(|status| u16::try_from(status).unwrap());
        let status = status.or(recorded).or_else(|| wrap.map(|wrap| wrap.status)).unwrap();
        let mut builder = http::Response::builder().status(status);
        // The lengths are those of the original.
        for (name, value) in self.pairs().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length")) {
            builder = builder.header(name, value);
        }
        let body = match wrap {
            Some(wrap) => wrap.around(self.0["words"].as_str().unwrap()),
            None => self.0["response"]["body"].as_str().unwrap().to_owned(),
        };
        Ok(builder.body(Body::from(body.into_bytes())).unwrap())
    }
}

impl Wrap {
    fn around(&self, words: &str) -> String {
        let error = self.error.iter().map(|error| ("error".to_owned(), Value::from(error.as_str())));
        let fields: Map<_, _> = error.chain([(self.words.clone(), Value::from(words))]).collect();
        Value::Object(fields).to_string()
    }
}

fn identity_of(value: &Value) -> Identity {
    if value == "system-assigned" {
        return Identity::SystemAssigned;
    }
    let (kind, id) = value.as_object().unwrap().iter().next().unwrap();
    let id = id.as_str().unwrap();
    match kind.as_str() {
        "client-id" => Identity::client_id(id),
        "object-id" => Identity::object_id(id),
        "resource-id" => Identity::resource_id(id),
        other => panic!("{other} is no kind of identity"),
    }
    .unwrap()
}

/// All recorded files, `<service>/<id>`.
fn names() -> BTreeSet<String> {
    let folders = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path().with_extension(""));
    files.map(|path| path.strip_prefix(directory()).unwrap().to_str().unwrap().to_owned()).collect()
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}
