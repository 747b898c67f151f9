//! Diagnostics for a component's linker: the broker's reports, without access to tokens.

use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime::error::format_err;

use crate::broker::Broker;

impl Broker {
    /// Give `token-broker:identity/diagnostics` to the components of a linker, without credentials: they read this
    /// broker's reports and counters, which hold no secret, and cannot start a fetch.
    ///
    /// If the broker's instance trapped, the component traps: the contract has no error for it.
    ///
    /// # Errors
    /// As [`Broker::add_to_linker`].
    pub fn add_diagnostics_to_linker<T: Send + 'static>(&self, linker: &mut Linker<T>) -> Result<()> {
        linker.instance("token-broker:identity/types@0.1.0")?;
        let mut diagnostics = linker.instance("token-broker:identity/diagnostics@0.1.0")?;
        let this = self.for_linker();
        diagnostics.func_wrap_async("explain", move |_, (): ()| {
            let this = this.clone();
            Box::new(
                async move { Ok((this.forward_explain().await.map_err(|error| format_err!("{error}"))?,)) },
            )
        })?;
        let this = self.for_linker();
        diagnostics.func_wrap_async("stats", move |_, (): ()| {
            let this = this.clone();
            Box::new(async move { Ok((this.stats().await.map_err(|error| format_err!("{error}"))?,)) })
        })
    }
}
