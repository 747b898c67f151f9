//! A host that is broker and vault at once, and remembers what the component asked of either.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};

use host_test::hosts::artefact;
use host_test::wasi::{self, Io, Sent};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use token_broker_host::engine_config;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::p3::bindings::Command;
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttpHooks};

use contract::token_broker::identity::types;

/// The token that the broker holds.
pub(crate) const HELD: &str = "held-token";
/// The token that it fetches once that one is forgotten or not enough.
pub(crate) const FRESH: &str = "fresh-token";
pub(crate) const TENANT: &str = "8f1d-2";

/// What a vault says to a request without a token, or with one that it does not like.
pub(crate) fn challenge(resource: &str) -> String {
    format!(r#"Bearer authorization="https://login.example/{TENANT}", resource="{resource}""#)
}

/// What it says to a token that lacks claims, beside a scheme that nobody can read.
pub(crate) fn lacking(claims: &str) -> String {
    format!(
        r#"PoP nonce="open, Bearer realm="", authorization_uri="https://login.example/common/oauth2/authorize", error="insufficient_claims", claims="{claims}""#
    )
}

/// A vault that answers with these challenges, one after the other, and then with a secret.
pub(crate) struct Stage {
    url: String,
    script: Script,
}

/// What the component asked of the broker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) scope: String,
    pub(crate) tenant: Option<String>,
    pub(crate) claims: Option<String>,
    pub(crate) cae: bool,
}

/// What was seen of the component.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) found_secret: bool,
    /// What it printed.
    pub(crate) output: String,
    /// The token of each of its requests to the vault.
    pub(crate) presented: Vec<Option<&'static str>>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) forgotten: Vec<String>,
}

impl Stage {
    pub(crate) fn new(url: &str, challenges: &[&str]) -> Self {
        let challenges = challenges.iter().map(|&challenge| challenge.to_owned()).collect();
        let scene = Scene { challenges, seen: Seen::default() };
        Self { url: url.to_owned(), script: Arc::new(Mutex::new(scene)) }
    }

    pub(crate) async fn play(self) -> Seen {
        let engine = Engine::new(&engine_config()).unwrap();
        let component = Component::from_file(&engine, artefact("key-vault.wasm").unwrap()).unwrap();
        let linker = linker(&engine).unwrap();
        let output = MemoryOutputPipe::new(1 << 16);
        let wasi = WasiCtx::builder()
            .env("KEY_VAULT_URL", &self.url)
            .stdout(output.clone())
            .stderr(output.clone())
            .build();
        let mut store = Store::new(&engine, State::new(wasi, Vault(Arc::clone(&self.script)), ()));
        let command = Command::instantiate_async(&mut store, &component, &linker).await.unwrap();
        let ended = store.run_concurrent(async |store| command.wasi_cli_run().call_run(store).await).await;
        let mut seen = std::mem::take(&mut self.script.lock().unwrap().seen);
        seen.found_secret = ended.unwrap().unwrap().is_ok();
        seen.output = String::from_utf8(output.contents().to_vec()).unwrap();
        seen
    }
}

type Script = Arc<Mutex<Scene>>;

struct Scene {
    challenges: VecDeque<String>,
    seen: Seen,
}

impl Scene {
    fn token(&mut self, request: types::TokenRequest) -> types::AccessToken {
        let is_first = self.seen.asked.is_empty();
        self.seen.asked.push(Asked {
            scope: request.scopes.concat(),
            tenant: request.tenant_id,
            claims: request.claims,
            cae: request.enable_cae,
        });
        types::AccessToken {
            token: if is_first { HELD } else { FRESH }.to_owned(),
            token_type: "Bearer".to_owned(),
            expires_on: 1_760_003_600,
            refresh_on: None,
        }
    }

    fn answer(&mut self, request: &http::Request<WasiBody>) -> http::Response<WasiBody> {
        let token = request.headers().get(AUTHORIZATION).map(|value| match value.as_bytes() {
            b"Bearer held-token" => HELD,
            b"Bearer fresh-token" => FRESH,
            _ => "another token",
        });
        self.seen.presented.push(token);
        let (answer, body) = match self.challenges.pop_front() {
            Some(challenge) => {
                let refusal = http::Response::builder().status(401).header(WWW_AUTHENTICATE, challenge);
                (refusal, r#"{"error":{"code":"Unauthorized","message":"[TokenExpired]"}}"#)
            }
            None => (http::Response::builder(), r#"{"value":"a secret"}"#),
        };
        answer.body(wasi::text(body)).unwrap()
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker: Linker<State> = wasi::linker(engine)?;
    linker.instance("token-broker:identity/types@0.1.0")?;
    let mut credentials = linker.instance("token-broker:identity/credentials@0.1.0")?;
    credentials.func_wrap_concurrent("request-token", |accessor, (request,): (types::TokenRequest,)| {
        let script = accessor.with(|mut access| Arc::clone(&access.data_mut().hooks.0));
        Box::pin(async move { Ok((Ok::<_, types::Error>(script.lock().unwrap().token(request)),)) })
    })?;
    credentials.func_wrap_concurrent("forget-token", |accessor, (scope,): (String,)| {
        let script = accessor.with(|mut access| Arc::clone(&access.data_mut().hooks.0));
        Box::pin(async move {
            script.lock().unwrap().seen.forgotten.push(scope);
            Ok(())
        })
    })?;
    Ok(linker)
}

type State = wasi::State<(), Vault>;

struct Vault(Script);

impl WasiHttpHooks for Vault {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _answered: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let answer = self.0.lock().unwrap().answer(&request);
        Box::new(std::future::ready(wasi::answered(answer)))
    }
}

mod contract {
    #![allow(unused_qualifications, clippy::use_self, reason = "generated")]

    wasmtime::component::bindgen!({ path: "../wit", world: "consumer" });
}
