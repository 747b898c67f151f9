//! The way to the network: who may send what where, and whom a connection trusts.

pub(crate) mod connect;
pub(crate) mod egress;
pub(crate) mod exchange;
pub(crate) mod hooks;
pub(crate) mod http;
pub(crate) mod policy;
pub(crate) mod tls;
pub(crate) mod trusted_roots;

#[cfg(test)]
mod tests;
