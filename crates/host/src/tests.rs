//! Each error of this crate has a fix.

use std::time::Duration;

use wasmtime_wasi::WasiCtxBuilder;

use crate::{
    Broker, Builder, Decision, DefaultHttpPolicy, Egress, Environment, HttpPolicy as _, MemoryStore,
    Store as _, TrustedRoots,
};

async fn build(builder: Builder) -> String {
    format!("{:#}", builder.build().await.err().unwrap())
}

async fn errors() -> Vec<String> {
    let (minute, large) = (Duration::from_secs(60), vec![0; crate::store::MAX_VALUE + 1]);
    let (request, ()) = http::Request::get("http://a.example").body(()).unwrap().into_parts();
    let Decision::Refuse(refused) = DefaultHttpPolicy.decide(&request) else { panic!("{request:?} is sent") };
    let in_the_root = Environment::default().with("AZURE_FEDERATED_TOKEN_FILE", "/token");
    vec![
        build(Broker::builder().component_file("/none/a.wasm")).await,
        build(Broker::builder().component_file("/none/a.cwasm")).await,
        build(Broker::builder().component_bytes(&b"no component"[..])).await,
        // The shortest component there is: magic, version, layer.
        build(Broker::builder().component_bytes(&b"\0asm\x0d\0\x01\0"[..])).await,
        build(Broker::builder().store(MemoryStore::default())).await,
        build(Broker::builder().settings(|_: &str| Err("no answer".to_owned()))).await,
        build(Broker::builder().max_memory(1)).await,
        format!("{:#}", Egress::to(["a.example"]).err().unwrap()),
        TrustedRoots::from_pem("").unwrap_err().to_string(),
        TrustedRoots::from_file("/none").unwrap_err().to_string(),
        in_the_root.lend(&mut WasiCtxBuilder::new()).unwrap_err().to_string(),
        MemoryStore::default().set("key", large, minute).await.unwrap_err().to_string(),
        crate::store::NoStore.get("key").await.unwrap_err().to_string(),
        refused,
    ]
}

#[tokio::test]
async fn each_error_ends_with_one_fix() {
    for error in errors().await {
        assert_eq!(error.matches("; fix: ").count(), 1, "{error}");
    }
}
