//! A broker instance's store: what the host lends to the guest, and how a fresh one is made.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use rand_core::TryRng;
use token_broker::Error;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::{Engine, Result, Store as WasmStore};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::clock::{Clock, GuestClock};
use crate::environment::Environment;
use crate::files::{self, LentDirectory, NamedFiles};
use crate::http::{Hooks, HttpPolicy};
use crate::imports::{self, Settings};
use crate::limits::Limits;
use crate::log::Log;
use crate::store::Store;
use crate::tls::{self, Tls};
use crate::wasi;

/// What the store of a broker instance holds.
pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    table: ResourceTable,
    pub(crate) limits: Limits,
    pub(crate) files: NamedFiles,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Option<Arc<dyn Settings>>,
    /// What of its configuration the guest cannot be given: without it, no call for a token is made.
    pub(crate) lacking: Option<Error>,
}

/// Everything that a broker instance is lent.
pub(crate) struct Lent {
    pub(crate) environment: Environment,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Option<Random>,
    pub(crate) http: Arc<dyn HttpPolicy>,
    pub(crate) tls: Arc<Tls>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Option<Arc<dyn Settings>>,
    pub(crate) log: Log,
    pub(crate) max_memory: usize,
}

/// Makes broker instances that are all lent the same.
pub(crate) struct Template {
    pub(crate) lent: Lent,
    pre: InstancePre<State>,
}

impl Template {
    pub(crate) fn new(engine: &Engine, component: &Component, lent: Lent) -> Result<Self> {
        let mut linker = Linker::new(engine);
        wasi::add_to_linker(&mut linker)?;
        files::add_to_linker(&mut linker)?;
        imports::add_to_linker(&mut linker)?;
        Ok(Self { lent, pre: linker.instantiate_pre(component)? })
    }

    /// A fresh instance in a store of its own.
    pub(crate) async fn instantiate(&self) -> Result<(WasmStore<State>, wasmtime::component::Instance)> {
        let environment = self.lent.environment.completed_from(self.lent.settings.as_deref()).await;
        let mut store = WasmStore::new(self.pre.engine(), self.lent.state(&environment));
        store.limiter(|state| &mut state.limits);
        let instance = self.pre.instantiate_async(&mut store).await?;
        Ok((store, instance))
    }
}

impl Lent {
    fn state(&self, environment: &Environment) -> State {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stderr(self.log.clone());
        wasi.wall_clock(GuestClock(Arc::clone(&self.clock)));
        wasi.monotonic_clock(GuestClock(Arc::clone(&self.clock)));
        if let Some(random) = &self.random {
            wasi.secure_random(random.clone());
            wasi.insecure_random(random.clone());
        }
        let lacking = environment.lend(&mut wasi).err();
        if let Some(thumbprint) = self.tls.pinned() {
            wasi.env(tls::PINNED, thumbprint);
        }
        let mut state = State {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks {
                policy: Arc::clone(&self.http),
                tls: Arc::clone(&self.tls),
                log: self.log.clone(),
            },
            table: ResourceTable::new(),
            limits: Limits::new(self.max_memory),
            files: NamedFiles::default(),
            store: Arc::clone(&self.store),
            settings: self.settings.clone(),
            lacking,
        };
        state.files = environment.named_files(&state.lent_directories());
        state
    }
}

impl State {
    fn lent_directories(&mut self) -> Vec<LentDirectory> {
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

/// A source of random bytes that every instance draws from.
#[derive(Clone)]
pub(crate) struct Random(Arc<Mutex<Fill>>);

type Fill = dyn FnMut(&mut [u8]) + Send;

impl Random {
    pub(crate) fn new(fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(fill)))
    }

    fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    fn fill(&self, bytes: &mut [u8]) {
        (self.0.lock().unwrap_or_else(PoisonError::into_inner))(bytes);
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.bytes()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use wasmtime::component::Resource;
    use wasmtime_wasi::cli::WasiCliView as _;
    use wasmtime_wasi::p2::bindings::cli::environment::Host as _;
    use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, HostDescriptor as _};
    use wasmtime_wasi::p2::bindings::filesystem::types::{OpenFlags, PathFlags};

    use super::*;
    use crate::clock::SystemClock;
    use crate::component::engine_config;
    use crate::http::LocalOrHttps;
    use crate::store::NoStore;

    fn lent(environment: Environment) -> Lent {
        Lent {
            tls: Arc::new(Tls::new(&environment, &[]).unwrap()),
            environment,
            clock: Arc::new(SystemClock::default()),
            random: None,
            http: Arc::new(LocalOrHttps),
            store: Arc::new(NoStore),
            settings: None,
            log: Log::stderr(),
            max_memory: 0,
        }
    }

    pub(crate) fn state(environment: Environment) -> State {
        let lent = lent(environment);
        lent.state(&lent.environment)
    }

    /// For brokers of which no instance is made.
    pub(crate) fn empty_template() -> Template {
        let engine = Engine::new(&engine_config()).unwrap();
        let component = Component::new(&engine, b"\0asm\x0d\0\x01\0").unwrap();
        Template::new(&engine, &component, lent(Environment::default())).unwrap()
    }

    /// The handles of what is lent under a name.
    fn directories(state: &mut State, name: &Path) -> Vec<u32> {
        let all = state.filesystem().get_directories().unwrap();
        all.into_iter().filter(|(_, lent)| Path::new(lent) == name).map(|(handle, _)| handle.rep()).collect()
    }

    #[test]
    fn a_guest_sees_the_documented_variables_and_no_others() {
        let pairs = [("AZURE_CLIENT_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("HOME", "/root")];
        let mut state = state(Environment::from_iter(pairs));
        assert_eq!(state.cli().get_environment().unwrap(), [("AZURE_CLIENT_ID".to_owned(), "a".to_owned())]);
        assert!(state.cli().get_arguments().unwrap().is_empty());
    }

    #[test]
    fn a_guest_is_told_of_a_pinned_certificate_by_a_host_that_pins_and_by_nobody_else() {
        let told = |environment: Environment| {
            let environment = environment.with(tls::PINNED, "ab".repeat(20));
            let pairs = state(environment).cli().get_environment().unwrap();
            pairs.into_iter().find(|(name, _)| name == tls::PINNED).map(|(_, value)| value)
        };
        assert_eq!(told(Environment::default()), None);
        let fabric = |endpoint: &str, thumbprint: &str| {
            Environment::from_iter([
                ("IDENTITY_ENDPOINT", endpoint),
                ("IDENTITY_HEADER", "s"),
                ("IDENTITY_SERVER_THUMBPRINT", thumbprint),
            ])
        };
        let endpoint = "https://10.0.0.4:2377/metadata/identity/oauth2/token";
        assert_eq!(told(fabric(endpoint, &"cd:".repeat(20))), Some("CD".repeat(20)));
        assert_eq!(told(fabric(endpoint, "cd")), None, "no thumbprint");
        assert_eq!(told(fabric("http://127.0.0.1/token", &"cd".repeat(20))), None, "no certificate");
        assert_eq!(told(fabric(endpoint, &"cd".repeat(20)).with("IDENTITY_HEADER", "")), None, "no secret");
    }

    #[test]
    fn a_guest_sees_no_directory_that_no_variable_names() {
        let mut state = state(Environment::inherit());
        let names: Vec<_> =
            state.filesystem().get_directories().unwrap().into_iter().map(|(_, name)| name).collect();
        assert!(names.iter().all(|name| name.contains("azcmagent")), "{names:?}");
    }

    #[tokio::test]
    async fn the_directory_of_a_named_file_is_lent_for_reading_and_nothing_around_it() {
        for variable in ["AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_CERTIFICATE_PATH"] {
            let home = tempfile::tempdir().unwrap();
            let directory = home.path().join("tokens");
            std::fs::create_dir_all(directory.join("..data")).unwrap();
            std::fs::write(home.path().join("beside"), "b").unwrap();
            std::fs::write(directory.join("..data/token"), "t").unwrap();
            // As Kubernetes mounts it.
            symlink("..data/token", directory.join("token")).unwrap();
            symlink("../beside", directory.join("out")).unwrap();
            symlink(home.path().join("beside"), directory.join("far-out")).unwrap();
            symlink("..", directory.join("up")).unwrap();
            let environment =
                Environment::default().with(variable, directory.join("token").to_str().unwrap());
            let mut state = state(environment);
            assert_eq!(state.lacking, None);
            let [lent] = directories(&mut state, &directory).try_into().unwrap();

            let mut open = async |path: &str, opening, flags| {
                let lent = Resource::new_borrow(lent);
                let follow = PathFlags::SYMLINK_FOLLOW;
                state.filesystem().open_at(lent, follow, path.to_owned(), opening, flags).await.is_ok()
            };
            let (here, read) = (OpenFlags::empty(), DescriptorFlags::READ);
            assert!(open("token", here, read).await);
            assert!(!open("token", here, DescriptorFlags::WRITE).await);
            assert!(!open("token", OpenFlags::TRUNCATE, read).await);
            assert!(!open("new", OpenFlags::CREATE, read).await);
            for outside in ["../beside", "out", "far-out", "up/beside", "/etc/hostname"] {
                assert!(!open(outside, here, read).await, "{outside}");
            }
        }
    }

    #[test]
    fn what_cannot_be_lent_is_kept_for_the_calls_and_the_rest_is_lent() {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("key.pem");
        let environment = Environment::default()
            .with("AZURE_FEDERATED_TOKEN_FILE", "/token")
            .with("AZURE_CLIENT_CERTIFICATE_PATH", key.to_str().unwrap());
        let mut state = state(environment);
        assert!(state.lacking.as_ref().unwrap().to_string().contains("AZURE_FEDERATED_TOKEN_FILE"));
        assert_eq!(directories(&mut state, home.path()).len(), 1);
        assert_eq!(directories(&mut state, Path::new("/")).len(), 0);
    }
}
