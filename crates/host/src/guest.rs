//! A broker instance in a wasmtime store: what it is lent, what it imports, what it exports.

pub(crate) mod clock;
pub(crate) mod imports;
pub(crate) mod instance;
pub(crate) mod limits;
pub(crate) mod open_at;
pub(crate) mod prototype;
pub(crate) mod random;
pub(crate) mod state;
pub(crate) mod wasi;
