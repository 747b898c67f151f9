//! Cached calls through the shared broker: from its embedder, and from a consumer in a store of its own.

use anyhow::Result;
use host_test::hosts::artefact;
use mock_identity::Mock;
use token_broker_host::{Policy, RawRequest, engine_config};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::SCOPE;
use crate::calls::builder;
use crate::composed::{Consumer, State};
use crate::report::Report;
use crate::timing::{BATCH, microseconds};

pub(crate) async fn run(mock: &Mock, report: &mut Report) -> Result<()> {
    report.section("cached calls, through the shared broker");
    let broker = builder(mock).build().await?;
    broker.get_token(SCOPE).await?;
    let get = microseconds(BATCH, async || {
        for _ in 0..BATCH {
            broker.get_token(SCOPE).await?;
        }
        Ok(())
    });
    report.promise("get-token, embedder", get.await?, 5.0, "us");
    let request = RawRequest { scopes: vec![SCOPE.to_owned()], ..RawRequest::default() };
    let crossing = microseconds(BATCH, async || {
        for _ in 0..BATCH {
            broker.request_token(&request).await?;
        }
        Ok(())
    });
    report.figure("request-token, which always crosses into its store", crossing.await?, "us");

    let engine = Engine::new(&engine_config())?;
    let mut linker = Linker::<State>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    broker.add_to_linker(&mut linker, Policy::new(Some(SCOPE), None)?)?;
    let component = Component::from_file(&engine, artefact("consumer.wasm")?)?;
    let mut consumer = Consumer::new(&linker.instantiate_pre(&component)?, Vec::new()).await?;
    report.promise("get-token, consumer in its own store, with a policy", consumer.get().await?, 5.0, "us");
    report.figure("peek-token, consumer in its own store, with a policy", consumer.peek().await?, "us");
    Ok(())
}
