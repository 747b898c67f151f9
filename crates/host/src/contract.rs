//! The contract's values: as they cross between wasmtime stores, and as the embedder sees them.

pub(crate) mod report;
pub(crate) mod token;
pub(crate) mod wire;
