//! One VM with the filter in it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::time::Instant;
use wasmtime::{Store, TypedFunc};

use super::super::content::Text;
use super::super::world::World;
use super::Filter;
use super::proxy::{Answer, Exports, Proxy, ROOT, Stream};
use super::upstream::CallResult;

/// One VM.
pub(super) struct Vm {
    pub(super) store: Store<Proxy>,
    create: TypedFunc<(u32, u32), ()>,
    request: TypedFunc<(u32, u32, u32), u32>,
    tick: TypedFunc<u32, ()>,
    answered: TypedFunc<(u32, u32, u32, u32, u32), ()>,
}

impl Vm {
    /// Start a VM. The inner error is that of a refused configuration.
    pub(super) fn begin(
        filter: &Filter,
        configuration: &Value,
        world: &World,
    ) -> Result<std::result::Result<Self, String>> {
        let environment = world.env.iter().map(|(name, Text(value))| (name.clone(), value.clone())).collect();
        let configuration = configuration.to_string().into_bytes();
        let size = u32::try_from(configuration.len())?;
        let proxy = Proxy::new(world.clock, environment, configuration, &world.shared);
        let mut store = Store::new(filter.engine(), proxy);
        let instance = filter.instantiate(&mut store)?;
        let memory = instance.get_memory(&mut store, "memory").context("it exports no memory")?;
        let allocate = instance.get_typed_func(&mut store, "proxy_on_memory_allocate")?;
        store.data_mut().exports = Some(Exports { memory, allocate });
        let initialize: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "_initialize")?;
        initialize.call(&mut store, ())?;
        let mut vm = Self {
            create: instance.get_typed_func(&mut store, "proxy_on_context_create")?,
            request: instance.get_typed_func(&mut store, "proxy_on_request_headers")?,
            tick: instance.get_typed_func(&mut store, "proxy_on_tick")?,
            answered: instance.get_typed_func(&mut store, "proxy_on_http_call_response")?,
            store,
        };
        vm.store.data_mut().context = ROOT;
        vm.create.call(&mut vm.store, (ROOT, 0))?;
        let start = instance.get_typed_func::<(u32, u32), u32>(&mut vm.store, "proxy_on_vm_start")?;
        ensure!(start.call(&mut vm.store, (ROOT, 0))? == 1, "the VM does not start");
        let configure = instance.get_typed_func::<(u32, u32), u32>(&mut vm.store, "proxy_on_configure")?;
        if configure.call(&mut vm.store, (ROOT, size))? != 1 {
            return Ok(Err(vm.last_error()?));
        }
        vm.store.data_mut().is_configured = true;
        Ok(Ok(vm))
    }

    fn last_error(&self) -> Result<String> {
        let line = self.store.data().log.lines().last().context("it refuses without a word")?;
        let record: Value = serde_json::from_str(line.get(2..).unwrap_or_default())?;
        Ok(record["error"].as_str().context("it refuses without a reason")?.to_owned())
    }

    /// Begin a request.
    pub(super) fn request(&mut self, stream: u32, headers: &[(&str, &str)]) -> Result<()> {
        let bytes = |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let headers: Vec<_> = headers.iter().map(bytes).collect();
        let count = u32::try_from(headers.len())?;
        let proxy = self.store.data_mut();
        proxy.streams.insert(stream, Stream { headers, ..Stream::default() });
        proxy.context = stream;
        self.create.call(&mut self.store, (stream, ROOT))?;
        if self.request.call(&mut self.store, (stream, count, 1))? == CONTINUE {
            self.store.data_mut().streams.entry(stream).or_default().goes_on = true;
        }
        Ok(())
    }

    pub(super) fn tick(&mut self) -> Result<()> {
        let proxy = self.store.data_mut();
        proxy.tick_at = Some(Instant::now() + Duration::from_millis(proxy.tick_period.into()));
        proxy.context = ROOT;
        Ok(self.tick.call(&mut self.store, ROOT)?)
    }

    pub(super) fn answer(&mut self, number: u32, result: CallResult) -> Result<()> {
        let proxy = self.store.data_mut();
        proxy.context = ROOT;
        proxy.answer = match result {
            CallResult::Response(answer) => answer,
            CallResult::Reset => Answer::default(),
        };
        let (headers, body) = (proxy.answer.headers.len(), proxy.answer.body.len());
        let arguments = (ROOT, number, u32::try_from(headers)?, u32::try_from(body)?, 0);
        self.answered.call(&mut self.store, arguments)?;
        // Again, as no proxy should: the filter must ignore it.
        Ok(self.answered.call(&mut self.store, arguments)?)
    }

    pub(super) fn metric(&self, name: &str) -> u64 {
        let metrics = &self.store.data().metrics;
        let found = metrics.iter().find(|(other, _)| other.strip_prefix("token_broker.") == Some(name));
        found.and_then(|(_, value)| u64::try_from(*value).ok()).unwrap_or_default()
    }
}

const CONTINUE: u32 = 0;
