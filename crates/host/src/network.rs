//! The network: the requests that may be sent, and the certificates that a connection trusts.

pub(crate) mod connect;
pub(crate) mod egress;
pub(crate) mod exchange;
pub(crate) mod hooks;
pub(crate) mod http;
pub(crate) mod policy;
pub(crate) mod proxy;
pub(crate) mod tls;
pub(crate) mod token_proxy;
pub(crate) mod trusted_roots;
pub(crate) mod tunnel;

#[cfg(test)]
mod tests;
