//! The broker component: the one that this crate carries, or another one that the embedder names.

pub(crate) mod cache;
mod precompiled;

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::error::format_err;
use wasmtime::{Config, Engine, Result};

use crate::component::cache::{Cache, Digest};
use crate::guest::USE_ANOTHER;

/// The component, before it is compiled.
#[derive(Clone, Debug, Default)]
pub(crate) enum Source {
    /// The one inside this crate.
    #[default]
    Carried,
    Bytes(Cow<'static, [u8]>),
    File(PathBuf),
}

/// The engine configuration that the broker needs. Start from it for an engine of your own, see
/// [`Builder::engine`](crate::Builder::engine).
pub fn engine_config() -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.wasm_component_model_async(true);
    config
}

/// Load a component, from its precompiled form if a cache has it.
pub(crate) fn load(engine: &Engine, source: &Source, cache: Option<&Cache>) -> Result<Component> {
    match source {
        Source::Carried => compile(engine, CARRIED, cache, || *CARRIED_DIGEST),
        Source::Bytes(bytes) => compile(engine, bytes, cache, || Sha256::digest(bytes).into()),
        Source::File(path) if path.extension().is_some_and(|extension| extension == "cwasm") => {
            precompiled::load(engine, path)
        }
        Source::File(path) => {
            let bytes = fs::read(path).map_err(|error| {
                format_err!(
                    "cannot read {}: {error}; fix: name a component that this user can read",
                    path.display()
                )
            })?;
            compile(engine, &bytes, cache, || Sha256::digest(&bytes).into())
        }
    }
}

fn compile(
    engine: &Engine,
    bytes: &[u8],
    cache: Option<&Cache>,
    digest: impl FnOnce() -> Digest,
) -> Result<Component> {
    let compiled = match cache {
        Some(cache) => cache.component(engine, bytes, &digest()),
        None => Component::new(engine, bytes),
    };
    compiled.map_err(|error| format_err!("the component cannot be compiled: {error:#}; fix: {USE_ANOTHER}"))
}

/// `cargo xtask build` puts it there; the build script requires it and computes the digest.
static CARRIED: &[u8] = include_bytes!("../component/token-broker-core.wasm");
static CARRIED_DIGEST: &Digest = include_bytes!(concat!(env!("OUT_DIR"), "/token-broker-core.sha256"));

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn the_package_of_this_crate_contains_the_component() {
        let mut list = Command::new(env!("CARGO"));
        list.args(["package", "--list", "--allow-dirty", "--offline"])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let files = String::from_utf8(list.output().unwrap().stdout).unwrap();
        assert!(files.lines().any(|file| file == "component/token-broker-core.wasm"), "{files}");
    }
}
