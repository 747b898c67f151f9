//! The prototype of broker instances: the linked component, and the resources that the host lends to each instance.

use std::sync::Arc;

use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::error::format_err;
use wasmtime::{Engine, Result, Store as WasmStore};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi_http::WasiHttpCtx;

use crate::environment::certificate::CertificateFile;
use crate::environment::named_files::NamedFiles;
use crate::environment::settings::Settings;
use crate::environment::{Environment, PINNED, VERIFIED};
use crate::guest::clock::{Clock, GuestClock};
use crate::guest::limits::Limits;
use crate::guest::random::Random;
use crate::guest::state::State;
use crate::guest::{USE_ANOTHER, imports, open_at, wasi};
use crate::log::Log;
use crate::network::connect::Network;
use crate::network::exchange::Ways;
use crate::network::hooks::Hooks;
use crate::network::policy::HttpPolicy;
use crate::network::proxy::Proxies;
use crate::network::tls::Tls;
use crate::store::Store;

/// The resources that the host lends to each broker instance.
pub(crate) struct HostResources {
    pub(crate) environment: Environment,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Option<Random>,
    pub(crate) http: Arc<dyn HttpPolicy>,
    pub(crate) proxies: Proxies,
    pub(crate) tls: Arc<Tls>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Option<Arc<dyn Settings>>,
    pub(crate) log: Log,
    pub(crate) max_memory: usize,
}

/// Makes broker instances with the same resources.
pub(crate) struct Prototype {
    pub(crate) resources: HostResources,
    pre: InstancePre<State>,
}

impl Prototype {
    pub(crate) fn new(engine: &Engine, component: &Component, resources: HostResources) -> Result<Self> {
        let mut linker = Linker::new(engine);
        wasi::add_to_linker(&mut linker)?;
        open_at::add_to_linker(&mut linker)?;
        imports::add_to_linker(&mut linker)?;
        let pre = linker.instantiate_pre(component).map_err(|error| {
            format_err!("the component's imports cannot be linked: {error:#}; fix: {USE_ANOTHER}")
        })?;
        Ok(Self { resources, pre })
    }

    /// A fresh instance in a store of its own.
    pub(crate) async fn instantiate(&self) -> Result<(WasmStore<State>, wasmtime::component::Instance)> {
        let environment = self.resources.environment.completed_from(self.resources.settings.as_deref()).await;
        let mut store = WasmStore::new(self.pre.engine(), self.resources.state(&environment));
        store.limiter(|state| &mut state.limits);
        let instance = self.pre.instantiate_async(&mut store).await.map_err(|error| {
            let why = error.root_cause();
            format_err!(
                "the component cannot be instantiated: {why}; fix: raise the limit of its memory, or {USE_ANOTHER}"
            )
        })?;
        Ok((store, instance))
    }
}

impl HostResources {
    fn state(&self, environment: &Environment) -> State {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stderr(self.log.clone());
        wasi.wall_clock(GuestClock(Arc::clone(&self.clock)));
        wasi.monotonic_clock(GuestClock(Arc::clone(&self.clock)));
        if let Some(random) = &self.random {
            wasi.secure_random(random.clone());
            wasi.insecure_random(random.clone());
        }
        let config_error = environment.lend(&mut wasi).err();
        if let Some(thumbprint) = self.tls.pinned() {
            wasi.env(PINNED, thumbprint);
        }
        if let Some(url) = self.tls.verified_token_proxy(environment) {
            wasi.env(VERIFIED, url);
        }
        let mut state = State {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks {
                policy: Arc::clone(&self.http),
                ways: Ways {
                    network: Network::of_broker(),
                    proxies: self.proxies.clone(),
                    tls: Arc::clone(&self.tls),
                },
                log: self.log.clone(),
            },
            table: ResourceTable::new(),
            limits: Limits::new(self.max_memory),
            files: NamedFiles::default(),
            certificate: CertificateFile::of(environment),
            store: Arc::clone(&self.store),
            settings: self.settings.clone(),
            config_error,
        };
        state.files = environment.named_files(&state.lent_directories());
        state
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use wasmtime::component::Resource;
    use wasmtime_wasi::cli::WasiCliView as _;
    use wasmtime_wasi::filesystem::WasiFilesystemView as _;
    use wasmtime_wasi::p2::bindings::cli::environment::Host as _;
    use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
    use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, HostDescriptor as _};
    use wasmtime_wasi::p2::bindings::filesystem::types::{OpenFlags, PathFlags};

    use super::*;
    use crate::component::engine_config;
    use crate::guest::clock::SystemClock;
    use crate::network::policy::DefaultHttpPolicy;
    use crate::network::trusted_roots::TrustedRoots;
    use crate::store::NoStore;

    fn resources(environment: Environment) -> HostResources {
        HostResources {
            proxies: Proxies::default(),
            tls: Arc::new(Tls::new(&environment, TrustedRoots::default()).unwrap()),
            environment,
            clock: Arc::new(SystemClock::default()),
            random: None,
            http: Arc::new(DefaultHttpPolicy),
            store: Arc::new(NoStore),
            settings: None,
            log: Log::stderr(),
            max_memory: 0,
        }
    }

    pub(crate) fn state(environment: Environment) -> State {
        let resources = resources(environment);
        resources.state(&resources.environment)
    }

    /// For brokers without an instance.
    pub(crate) fn empty_prototype() -> Prototype {
        let engine = Engine::new(&engine_config()).unwrap();
        let component = Component::new(&engine, b"\0asm\x0d\0\x01\0").unwrap();
        Prototype::new(&engine, &component, resources(Environment::default())).unwrap()
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
            let environment = environment.with(PINNED, "ab".repeat(20));
            let pairs = state(environment).cli().get_environment().unwrap();
            pairs.into_iter().find(|(name, _)| name == PINNED).map(|(_, value)| value)
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
    fn a_guest_is_told_of_a_verified_token_proxy_only_if_the_host_verifies_what_the_guest_reads() {
        const URL: &str = "https://kubernetes.default.svc/base/";
        let proxy = |pairs: &[(&str, &str)]| {
            let environment = Environment::from_iter([("AZURE_KUBERNETES_TOKEN_PROXY", URL)]);
            pairs.iter().fold(environment, |environment, (name, value)| environment.with(*name, *value))
        };
        let told = |host: Environment, guest: &Environment| {
            let mut state = resources(host).state(guest);
            let pairs = state.cli().get_environment().unwrap();
            pairs.into_iter().find(|(name, _)| name == VERIFIED).map(|(_, value)| value)
        };
        let claim = Environment::default().with(VERIFIED, URL);
        assert_eq!(told(claim.clone(), &claim), None, "no proxy");
        for pairs in [
            &[][..],
            &[("AZURE_KUBERNETES_SNI_NAME", "x.test"), ("AZURE_KUBERNETES_CA_FILE", "/ca.crt")],
            &[("AZURE_KUBERNETES_CA_DATA", "PEM")],
        ] {
            assert_eq!(told(proxy(pairs), &proxy(pairs)).as_deref(), Some(URL), "{pairs:?}");
            let settings = [pairs, &[("AZURE_KUBERNETES_SNI_NAME", "y.test")]].concat();
            assert_eq!(told(proxy(pairs), &proxy(&settings)), None, "a name of the settings: {pairs:?}");
        }
        assert_eq!(told(Environment::default(), &proxy(&[])), None, "a proxy of the settings");
        for broken in ["http://kubernetes.default.svc", "https://kubernetes.default.svc?", "x"] {
            let broken = proxy(&[("AZURE_KUBERNETES_TOKEN_PROXY", broken)]);
            assert_eq!(told(broken.clone(), &broken), None);
        }
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
            assert_eq!(state.config_error, None);
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
        assert!(state.config_error.as_ref().unwrap().to_string().contains("AZURE_FEDERATED_TOKEN_FILE"));
        assert_eq!(directories(&mut state, home.path()).len(), 1);
        assert_eq!(directories(&mut state, Path::new("/")).len(), 0);
    }
}
