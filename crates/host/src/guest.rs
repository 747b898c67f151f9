//! A broker instance in a wasmtime store: its resources, imports and exports.

pub(crate) mod clock;
pub(crate) mod imports;
pub(crate) mod instance;
pub(crate) mod limits;
pub(crate) mod open_at;
pub(crate) mod prototype;
pub(crate) mod random;
pub(crate) mod state;
pub(crate) mod wasi;

/// The fix for a component that this host cannot use.
pub(crate) const USE_ANOTHER: &str = "use the broker component of this version";
