//! The data of a broker instance's store.

use std::sync::Arc;

use token_broker::Error;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::environment::certificate::CertificateFile;
use crate::environment::named_files::{LentDirectory, NamedFiles};
use crate::environment::settings::Settings;
use crate::guest::limits::Limits;
use crate::network::hooks::Hooks;
use crate::store::Store;

/// The data of a broker instance's wasmtime store.
pub(crate) struct State {
    pub(crate) wasi: WasiCtx,
    pub(crate) http: WasiHttpCtx,
    pub(crate) hooks: Hooks,
    pub(crate) table: ResourceTable,
    pub(crate) limits: Limits,
    pub(crate) files: NamedFiles,
    pub(crate) certificate: Option<CertificateFile>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Option<Arc<dyn Settings>>,
    /// The reason why the host cannot lend the guest what its configuration names. It fails every call for a token.
    pub(crate) config_error: Option<Error>,
}

impl State {
    pub(crate) fn lent_directories(&mut self) -> Vec<LentDirectory> {
        let mut filesystem = self.filesystem();
        // Neither fails: the table is empty, and what was put into it is there.
        let handles = filesystem.get_directories().unwrap_or_default();
        let lent = handles.into_iter().map(|(handle, name)| (filesystem.table.delete(handle), name));
        lent.filter_map(|(directory, name)| match directory {
            Ok(Descriptor::Dir(directory)) => Some((directory.dir, name)),
            Ok(Descriptor::File(_)) | Err(_) => None,
        })
        .collect()
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}
