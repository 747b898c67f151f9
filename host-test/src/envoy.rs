//! A real Envoy with the filter in it, which `cargo xtask setup` and `cargo xtask build` bring.

mod bootstrap;
mod client;
mod process;
mod upstream;

pub use bootstrap::{
    Bootstrap, UpstreamTls, cluster, http_listener, internal_cluster, router, token_file_listener,
    token_filter, upstream_filters,
};
pub use client::{Response, get, send, send_http2};
pub use process::Envoy;
pub use upstream::{Seen, Upstream};
