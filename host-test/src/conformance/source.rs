//! Descriptions of sources, and the table of bad answers that is played to each of them.
//!
//! `<area>/source.json` describes a source: its environment, its requests and a good answer. A case that names a
//! source leaves these out. `bad-answers.json` holds such cases without a source, and each source gets all of them:
//! row `response-html` is the case `imds/response-html`, `arc/response-html` and so on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::case::{Case, Count, Counter, Exchange, Expect, Reply, Request, Step, Values};
use super::content::{Content, Text};

/// The descriptions of all sources, by area.
#[derive(Debug, Default)]
pub(crate) struct Sources(BTreeMap<String, Source>);

/// The description of a source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Source {
    /// Its name in errors and reports, `{source}` in a case.
    name: String,
    #[serde(default)]
    env: BTreeMap<String, Text>,
    #[serde(default)]
    files: BTreeMap<String, Content>,
    /// The URL of its requests that have none of their own.
    endpoint: String,
    /// The fetch of an assertion from another source, before the first request of an instance.
    assertion: Option<Exchange>,
    /// The request that is answered with a challenge, before each request for a token.
    challenge: Option<Exchange>,
    /// The request for a token. `{scope}` and `{resource}` are those of the step.
    request: Expect,
    /// The body of a good answer, without the token. `{resource}` is that of the step.
    token: Map<String, Value>,
    /// The rows of the table that differ for this source.
    #[serde(default)]
    overrides: BTreeMap<String, Override>,
    /// The rows of the table that do not apply to this source, each with the reason.
    #[serde(default)]
    without: BTreeMap<String, String>,
}

/// The differences of a row for one source.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Override {
    about: Option<String>,
    /// Variables, added to those of the source and of the row.
    env: BTreeMap<String, Text>,
    endpoint: Option<String>,
    /// Steps by number. The given fields replace those of the row.
    steps: BTreeMap<usize, Step>,
}

impl Sources {
    /// Add the description in a file.
    pub(crate) fn add(&mut self, area: String, file: &Path) -> Result<()> {
        self.0.insert(area, read(file)?);
        Ok(())
    }

    /// The cases of the table for every source, by name.
    pub(crate) fn cases(&self, table: &Path) -> Result<Vec<(String, Case)>> {
        let rows: BTreeMap<String, Case> = read(table)?;
        let mut cases = Vec::new();
        for (area, source) in &self.0 {
            let of_source = || format!("{area}/source.json");
            for row in source.overrides.keys().chain(source.without.keys()) {
                ensure!(rows.contains_key(row), "{}: no bad answer is named {row}", of_source());
            }
            for (row, case) in rows.iter().filter(|(row, _)| !source.without.contains_key(*row)) {
                let case = source.case(case, source.overrides.get(row));
                let case = case.with_context(|| format!("{}: {row}", of_source()))?;
                cases.push((format!("{area}/{row}"), case));
            }
            if let Some(row) = source.overrides.keys().find(|row| source.without.contains_key(*row)) {
                bail!("{}: {row} is left out, so that its override changes nothing", of_source());
            }
        }
        Ok(cases)
    }

    /// A case, completed from the description of its source.
    pub(crate) fn complete(&self, case: Case) -> Result<Case> {
        let Some(area) = case.source.clone() else { return Ok(case) };
        let source = self.0.get(&area);
        source.with_context(|| format!("no {area}/source.json describes its source"))?.complete(case)
    }
}

impl Source {
    /// A row of the table as a case of this source.
    fn case(&self, row: &Case, differs: Option<&Override>) -> Result<Case> {
        let Some(differs) = differs else { return self.complete(row.clone()) };
        let (mut source, mut case) = (self.clone(), row.clone());
        case.about = differs.about.clone().or(case.about);
        case.env.extend(differs.env.clone());
        source.endpoint = differs.endpoint.clone().unwrap_or(source.endpoint);
        for (nth, fields) in &differs.steps {
            let step = nth.checked_sub(1).and_then(|nth| case.steps.get_mut(nth));
            let step = step.with_context(|| format!("it has no step {nth}"))?;
            let changed = fields.clone().over(step.clone());
            ensure!(changed != *step, "the override of step {nth} changes nothing");
            *step = changed;
        }
        ensure!(source.endpoint != self.endpoint || case != *row, "the override changes nothing");
        source.complete(case)
    }

    /// A case, completed from this description.
    fn complete(&self, mut case: Case) -> Result<Case> {
        case.source = None;
        case.env = self.env.clone().into_iter().chain(case.env).collect();
        case.files = self.files.clone().into_iter().chain(case.files).collect();
        let mut assertion = self.assertion.as_ref();
        let mut assertions = 0;
        for step in &mut case.steps {
            if step.restart {
                (assertion, assertions) = (self.assertion.as_ref(), 0);
            }
            let scope = step.ask.as_ref().and_then(|ask| ask.scopes.first()).cloned().unwrap_or_default();
            for exchange in std::mem::take(&mut step.http) {
                if exchange.request.is_some() {
                    // A case that names one request names those before it, too.
                    assertion = None;
                } else if exchange.expect.url.is_none() {
                    assertions += u64::from(assertion.is_some());
                    for before in assertion.take().into_iter().chain(&self.challenge) {
                        let expect = Expect { after_ms: exchange.expect.after_ms, ..Expect::default() };
                        let same = Exchange { expect, ..Exchange::default() };
                        step.http.push(self.over(same, &before.expect, Some(&before.reply), &scope));
                    }
                }
                step.http.push(self.exchange(exchange, &scope)?);
            }
            self.name_in(step);
            let fetches = step.stats.as_mut().and_then(|it| it.get_mut(&Counter::Fetches));
            if let Some(Count::Plain(fetches)) = fetches {
                *fetches += assertions;
            }
        }
        Ok(case)
    }

    /// An `http` entry as a request of its own, without those before it.
    fn exchange(&self, mut exchange: Exchange, scope: &str) -> Result<Exchange> {
        exchange.reply = self.reply(exchange.reply, scope);
        let described = match exchange.request.take() {
            None if exchange.expect.url.is_some() => return Ok(exchange),
            None | Some(Request::Token) => return Ok(self.over(exchange, &self.request, None, scope)),
            Some(Request::Assertion) => &self.assertion,
            Some(Request::Challenge) => &self.challenge,
        };
        let described = described.as_ref().context("its source has no such request")?;
        Ok(self.over(exchange, &described.expect, Some(&described.reply), scope))
    }

    /// An exchange, completed from an expectation and a reply of the description.
    fn over(&self, exchange: Exchange, expect: &Expect, reply: Option<&Reply>, scope: &str) -> Exchange {
        let mut expect = exchange.expect.over(expect.clone());
        expect.url.get_or_insert_with(|| self.endpoint.clone());
        expect.fill_in(scope);
        let reply = match reply {
            Some(reply) if exchange.reply.is_headers_only() => reply.with_headers(exchange.reply.headers),
            _ => exchange.reply,
        };
        Exchange { expect, reply, ..exchange }
    }

    /// A reply with a token becomes the good answer. Fields of its body are added or replaced.
    fn reply(&self, mut reply: Reply, scope: &str) -> Reply {
        let fields = match &reply.body {
            None => Map::new(),
            Some(Value::Object(fields)) => fields.clone(),
            Some(_) => return reply,
        };
        if let Some(token) = reply.token.take() {
            let good = self.token.iter().map(|(name, value)| match value {
                Value::String(text) => (name.clone(), fill_in(text, scope).into()),
                other => (name.clone(), other.clone()),
            });
            let token = ("access_token".to_owned(), token.into());
            reply.body = Some(good.chain([token]).chain(fields).collect());
        }
        reply
    }

    /// Put the name of the source into the outcome that a step expects.
    fn name_in(&self, step: &mut Step) {
        for then in step.then.iter_mut().flatten() {
            then.message_contains.iter_mut().for_each(|words| *words = words.replace(NAME, &self.name));
        }
        if let Some(explain) = &mut step.explain {
            let named = std::mem::take(explain).into_iter();
            *explain = named.map(|(name, verdict)| (name.replace(NAME, &self.name), verdict)).collect();
        }
    }
}

impl Expect {
    /// The expectations of both. This one wins.
    fn over(self, other: Self) -> Self {
        Self {
            method: self.method.or(other.method),
            url: self.url.or(other.url),
            query: other.query.into_iter().chain(self.query).collect(),
            query_absent: [other.query_absent, self.query_absent].concat(),
            headers: other.headers.into_iter().chain(self.headers).collect(),
            headers_absent: [other.headers_absent, self.headers_absent].concat(),
            form: other.form.into_iter().chain(self.form).collect(),
            after_ms: self.after_ms.or(other.after_ms),
        }
    }

    /// Replace the placeholders for the scope of the step.
    fn fill_in(&mut self, scope: &str) {
        for Text(value) in self.query.values_mut().chain(self.form.values_mut()) {
            *value = fill_in(value, scope);
        }
    }
}

impl Reply {
    /// Whether it gives nothing but headers.
    fn is_headers_only(&self) -> bool {
        *self == Self { headers: self.headers.clone(), ..Self::default() }
    }

    fn with_headers(&self, headers: BTreeMap<String, Values>) -> Self {
        let headers = self.headers.clone().into_iter().chain(headers).collect();
        Self { headers, ..self.clone() }
    }
}

fn fill_in(text: &str, scope: &str) -> String {
    let resource = scope.strip_suffix("/.default").unwrap_or(scope);
    text.replace("{scope}", scope).replace("{resource}", resource)
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse(&text).with_context(|| file.display().to_string())
}

/// From JSON, with the place of the field that is unknown or of the wrong form in the error.
pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| anyhow!("{}: {}", error.path(), error.inner()))?;
    deserializer.end()?;
    Ok(value)
}

/// The placeholder for the name of the source.
const NAME: &str = "{source}";
