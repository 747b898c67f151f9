//! The part of proxy-wasm 0.2.1 that the filter uses, for one VM.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use wasmtime::{Caller, Engine, Linker, Memory, TypedFunc};

use super::super::case::StoreChange;
use super::super::world::SharedData;
use crate::wasi::Clock;

/// The state of the proxy.
pub(crate) struct Proxy {
    pub(super) clock: Clock,
    pub(super) environment: Vec<(String, String)>,
    pub(super) configuration: Vec<u8>,
    pub(super) log: String,
    shared: SharedData,
    /// Whether operations on shared data fail.
    pub(super) shared_fails: bool,
    pub(super) queues: Vec<VecDeque<Vec<u8>>>,
    pub(super) metrics: Vec<(String, i64)>,
    /// Milliseconds.
    pub(super) tick_period: u32,
    pub(super) tick_at: Option<Instant>,
    pub(super) calls: Vec<Call>,
    last_call: u32,
    /// The answer that the module can read now.
    pub(super) answer: Answer,
    /// The effective context.
    pub(super) context: u32,
    pub(super) streams: BTreeMap<u32, Stream>,
    /// Whether the plugin has accepted its configuration.
    pub(super) is_configured: bool,
    /// Those of the module, once it is instantiated.
    pub(super) exports: Option<Exports>,
}

/// The exports of the module that the proxy passes bytes with.
#[derive(Clone)]
pub(super) struct Exports {
    pub(super) memory: Memory,
    pub(super) allocate: TypedFunc<u32, u32>,
}

/// An HTTP call of the module.
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) cluster: String,
    pub(super) headers: Pairs,
    pub(super) body: Vec<u8>,
    pub(super) timeout_ms: u32,
}

#[derive(Default)]
pub(super) struct Answer {
    pub(super) headers: Pairs,
    pub(super) body: Vec<u8>,
}

pub(super) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A request in the proxy.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) headers: Pairs,
    pub(super) goes_on: bool,
    /// The filter's own answer.
    pub(super) response: Option<Response>,
}

/// An answer of the filter.
pub(super) struct Response {
    pub(super) status: u32,
    pub(super) headers: Pairs,
    pub(super) body: Vec<u8>,
}

impl Proxy {
    pub(super) fn new(
        clock: Clock,
        environment: Vec<(String, String)>,
        configuration: Vec<u8>,
        shared: &SharedData,
    ) -> Self {
        Self {
            clock,
            environment,
            configuration,
            log: String::new(),
            shared: Rc::clone(shared),
            shared_fails: false,
            queues: Vec::new(),
            metrics: Vec::new(),
            tick_period: 0,
            tick_at: None,
            calls: Vec::new(),
            last_call: 0,
            answer: Answer::default(),
            context: 0,
            streams: BTreeMap::new(),
            is_configured: false,
            exports: None,
        }
    }

    /// Change the entries of the core. Each begins with its expiry, in eight bytes.
    pub(super) fn change(&mut self, change: StoreChange) {
        let mut shared = self.shared.borrow_mut();
        let of_core = |key: &[u8]| key.windows(13).any(|part| part == b"token-broker-");
        let entries = shared.iter_mut().filter(|(key, (value, _))| of_core(key) && value.len() > 8);
        let mut values: Vec<&mut Vec<u8>> = entries.map(|(_, (value, _))| value).collect();
        match change {
            StoreChange::Emptied => values.iter_mut().for_each(|value| value.clear()),
            StoreChange::Reversed => values.iter_mut().for_each(|value| value[8..].reverse()),
            StoreChange::Truncated => {
                values.iter_mut().for_each(|value| value.truncate(8 + (value.len() - 8) / 2))
            }
            StoreChange::Swapped => {
                let mut copies: Vec<_> = values.iter().map(|value| value.to_vec()).collect();
                let one = 1.min(copies.len());
                copies.rotate_right(one);
                values.iter_mut().zip(copies).for_each(|(value, copy)| **value = copy);
            }
        }
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.context)
    }

    fn change_stream(&mut self, change: impl FnOnce(&mut Stream)) -> i32 {
        self.stream().map(change).map_or(BAD_ARGUMENT, |()| OK)
    }

    fn change_metric(&mut self, metric: u32, change: impl FnOnce(&mut i64)) -> i32 {
        let metric = self.metrics.get_mut(metric as usize);
        metric.map(|(_, value)| change(value)).map_or(NOT_FOUND, |()| OK)
    }
}

type Guest<'a> = Caller<'a, Proxy>;

pub(super) fn linker(engine: &Engine) -> Result<Linker<Proxy>> {
    let mut linker = Linker::new(engine);
    of_streams(&mut linker)?;
    of_vms(&mut linker)?;
    of_metrics(&mut linker)?;
    of_wasi(&mut linker)?;
    Ok(linker)
}

fn of_streams(linker: &mut Linker<Proxy>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_log", |mut caller: Guest<'_>, level: i32, text: u32, size: u32| {
        let text = read(&mut caller, text, size);
        let line = format!("{level} {}\n", String::from_utf8_lossy(&text));
        caller.data_mut().log.push_str(&line);
        OK
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut caller: Guest<'_>, buffer: i32, start: u32, max: u32, data: u32, size: u32| {
            let bytes = match buffer {
                4 => caller.data().answer.body.clone(),
                7 => caller.data().configuration.clone(),
                _ => return BAD_ARGUMENT,
            };
            let bytes: Vec<u8> = bytes.into_iter().skip(start as usize).take(max as usize).collect();
            give(&mut caller, &bytes, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |mut caller: Guest<'_>, _map: i32, name: u32, name_size: u32, data: u32, size: u32| {
            let name = read(&mut caller, name, name_size);
            let value = caller.data_mut().stream().and_then(|stream| find(&stream.headers, &name));
            value.map_or(NOT_FOUND, |value| give(&mut caller, &value, data, size))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |mut caller: Guest<'_>, _map: i32, data: u32, size: u32| {
            let pairs = encode(&caller.data().answer.headers);
            give(&mut caller, &pairs, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_remove_header_map_value",
        |mut caller: Guest<'_>, _map: i32, name: u32, name_size: u32| {
            let name = read(&mut caller, name, name_size);
            caller.data_mut().change_stream(|stream| stream.headers.retain(|(other, _)| *other != name))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_replace_header_map_value",
        |mut caller: Guest<'_>, _map: i32, name: u32, name_size: u32, value: u32, value_size: u32| {
            let (name, value) = (read(&mut caller, name, name_size), read(&mut caller, value, value_size));
            caller.data_mut().change_stream(|stream| {
                stream.headers.retain(|(other, _)| *other != name);
                stream.headers.push((name, value));
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_add_header_map_value",
        |mut caller: Guest<'_>, _map: i32, name: u32, name_size: u32, value: u32, value_size: u32| {
            let pair = (read(&mut caller, name, name_size), read(&mut caller, value, value_size));
            caller.data_mut().change_stream(|stream| stream.headers.push(pair))
        },
    )?;
    linker
        .func_wrap("env", "proxy_get_property", |_: Guest<'_>, _: u32, _: u32, _: u32, _: u32| NOT_FOUND)?;
    linker.func_wrap("env", "proxy_continue_stream", |mut caller: Guest<'_>, _: i32| {
        caller.data_mut().change_stream(|stream| stream.goes_on = true)
    })?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |mut caller: Guest<'_>,
         status: u32,
         _details: u32,
         _details_size: u32,
         body: u32,
         body_size: u32,
         headers: u32,
         headers_size: u32,
         _grpc: i32| {
            let body = read(&mut caller, body, body_size);
            let headers = decode(&read(&mut caller, headers, headers_size));
            let response = Response { status, headers, body };
            caller.data_mut().change_stream(|stream| stream.response = Some(response))
        },
    )?;
    linker.func_wrap("env", "proxy_set_effective_context", |mut caller: Guest<'_>, context: u32| {
        if context != ROOT && !caller.data().streams.contains_key(&context) {
            return BAD_ARGUMENT;
        }
        caller.data_mut().context = context;
        OK
    })?;
    Ok(())
}

fn of_vms(linker: &mut Linker<Proxy>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_set_tick_period_milliseconds", |mut caller: Guest<'_>, period: u32| {
        if caller.data().context != ROOT {
            return BAD_ARGUMENT;
        }
        let proxy = caller.data_mut();
        proxy.tick_period = period;
        proxy.tick_at = (period > 0).then(|| Instant::now() + Duration::from_millis(period.into()));
        OK
    })?;
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |mut caller: Guest<'_>,
         cluster: u32,
         cluster_size: u32,
         headers: u32,
         headers_size: u32,
         body: u32,
         body_size: u32,
         _trailers: u32,
         _trailers_size: u32,
         timeout_ms: u32,
         number: u32| {
            if caller.data().context != ROOT {
                // The answer would be lost with the request.
                return BAD_ARGUMENT;
            }
            let cluster = String::from_utf8_lossy(&read(&mut caller, cluster, cluster_size)).into_owned();
            let headers = decode(&read(&mut caller, headers, headers_size));
            let body = read(&mut caller, body, body_size);
            let proxy = caller.data_mut();
            proxy.last_call += 4;
            let call = Call { number: proxy.last_call, cluster, headers, body, timeout_ms };
            let bytes = call.number.to_le_bytes();
            proxy.calls.push(call);
            write(&mut caller, number, &bytes)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut caller: Guest<'_>, key: u32, key_size: u32, data: u32, size: u32, version: u32| {
            let key = read(&mut caller, key, key_size);
            if caller.data().shared_fails {
                return INTERNAL_FAILURE;
            }
            let Some((value, number)) = caller.data().shared.borrow().get(&key).cloned() else {
                return NOT_FOUND;
            };
            write(&mut caller, version, &number.to_le_bytes());
            give(&mut caller, &value, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |mut caller: Guest<'_>, key: u32, key_size: u32, value: u32, value_size: u32, version: u32| {
            let (key, value) = (read(&mut caller, key, key_size), read(&mut caller, value, value_size));
            let proxy = caller.data_mut();
            if proxy.shared_fails {
                return INTERNAL_FAILURE;
            }
            let mut shared = proxy.shared.borrow_mut();
            let there = shared.get(&key).map(|(_, number)| *number);
            if there.is_some_and(|number| version != 0 && version != number) {
                return CAS_MISMATCH;
            }
            shared.insert(key, (value, there.unwrap_or_default() + 1));
            OK
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_register_shared_queue",
        |mut caller: Guest<'_>, _name: u32, _name_size: u32, queue: u32| {
            caller.data_mut().queues.push(VecDeque::new());
            let number = caller.data().queues.len() as u32;
            write(&mut caller, queue, &number.to_le_bytes())
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_dequeue_shared_queue",
        |mut caller: Guest<'_>, queue: u32, data: u32, size: u32| {
            let queues = &mut caller.data_mut().queues;
            let Some(queue) = queues.get_mut(queue as usize - 1) else { return NOT_FOUND };
            let Some(message) = queue.pop_front() else { return EMPTY };
            give(&mut caller, &message, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_enqueue_shared_queue",
        |mut caller: Guest<'_>, queue: u32, message: u32, size: u32| {
            let message = read(&mut caller, message, size);
            let queues = &mut caller.data_mut().queues;
            queues.get_mut(queue as usize - 1).map_or(NOT_FOUND, |queue| {
                queue.push_back(message);
                OK
            })
        },
    )?;
    Ok(())
}

fn of_metrics(linker: &mut Linker<Proxy>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |mut caller: Guest<'_>, _kind: i32, name: u32, size: u32, metric: u32| {
            let name = String::from_utf8_lossy(&read(&mut caller, name, size)).into_owned();
            caller.data_mut().metrics.push((name, 0));
            let number = caller.data().metrics.len() as u32 - 1;
            write(&mut caller, metric, &number.to_le_bytes())
        },
    )?;
    linker.func_wrap("env", "proxy_increment_metric", |mut caller: Guest<'_>, metric: u32, by: i64| {
        caller.data_mut().change_metric(metric, |value| *value += by)
    })?;
    linker.func_wrap("env", "proxy_record_metric", |mut caller: Guest<'_>, metric: u32, to: u64| {
        caller.data_mut().change_metric(metric, |value| *value = i64::try_from(to).unwrap_or(i64::MAX))
    })?;
    Ok(())
}

fn of_wasi(linker: &mut Linker<Proxy>) -> wasmtime::Result<()> {
    const WASI: &str = "wasi_snapshot_preview1";
    linker.func_wrap(
        WASI,
        "clock_time_get",
        |mut caller: Guest<'_>, clock: i32, _precision: u64, time: u32| {
            let now = match clock {
                0 => caller.data().clock.since_epoch(),
                _ => caller.data().clock.since_start(),
            };
            let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
            write(&mut caller, time, &nanoseconds.to_le_bytes())
        },
    )?;
    // Zeros: no jitter.
    linker.func_wrap(WASI, "random_get", |mut caller: Guest<'_>, bytes: u32, size: u32| {
        write(&mut caller, bytes, &vec![0; size as usize])
    })?;
    linker.func_wrap(WASI, "environ_sizes_get", |mut caller: Guest<'_>, count: u32, size: u32| {
        let lines = environment(&caller);
        let length: usize = lines.iter().map(Vec::len).sum();
        write(&mut caller, count, &(lines.len() as u32).to_le_bytes());
        write(&mut caller, size, &(length as u32).to_le_bytes())
    })?;
    linker.func_wrap(WASI, "environ_get", |mut caller: Guest<'_>, pointers: u32, mut text: u32| {
        for (nth, line) in (0..).zip(environment(&caller)) {
            write(&mut caller, pointers + 4 * nth, &text.to_le_bytes());
            write(&mut caller, text, &line);
            text += line.len() as u32;
        }
        OK
    })?;
    linker.func_wrap(WASI, "fd_write", |_: Guest<'_>, _: i32, _: u32, _: u32, _: u32| INTERNAL_FAILURE)?;
    linker.func_wrap(WASI, "proc_exit", |_: Guest<'_>, code: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::msg(format!("the filter ended itself with {code}")))
    })?;
    Ok(())
}

fn environment(caller: &Guest<'_>) -> Vec<Vec<u8>> {
    caller.data().environment.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

fn find(pairs: &Pairs, name: &[u8]) -> Option<Vec<u8>> {
    pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
}

fn read(caller: &mut Guest<'_>, at: u32, size: u32) -> Vec<u8> {
    let memory = exports(caller).memory;
    let bytes = memory.data(&caller).get(at as usize..).and_then(|bytes| bytes.get(..size as usize));
    bytes.unwrap_or_default().to_vec()
}

fn write(caller: &mut Guest<'_>, at: u32, bytes: &[u8]) -> i32 {
    let memory = exports(caller).memory;
    if memory.write(caller, at as usize, bytes).is_ok() { OK } else { INVALID_MEMORY_ACCESS }
}

/// Copy bytes into memory that the module allocates for them.
fn give(caller: &mut Guest<'_>, bytes: &[u8], data: u32, size: u32) -> i32 {
    let mut at = 0;
    if !bytes.is_empty() {
        let allocate = exports(caller).allocate;
        let allocated = allocate.call(&mut *caller, bytes.len() as u32).ok();
        let Some(allocated @ 1..) = allocated else { return INTERNAL_FAILURE };
        at = allocated;
        write(caller, at, bytes);
    }
    write(caller, data, &at.to_le_bytes());
    write(caller, size, &(bytes.len() as u32).to_le_bytes())
}

fn exports(caller: &Guest<'_>) -> Exports {
    let exports = caller.data().exports.clone();
    exports.unwrap_or_else(|| unreachable!("a module that is instantiated calls"))
}

fn encode(pairs: &Pairs) -> Vec<u8> {
    let number = |length: usize| (length as u32).to_le_bytes();
    let mut bytes = number(pairs.len()).to_vec();
    bytes.extend(pairs.iter().flat_map(|(name, value)| [number(name.len()), number(value.len())].concat()));
    bytes.extend(pairs.iter().flat_map(|(name, value)| [name, &b"\0"[..], value, b"\0"].concat()));
    bytes
}

/// Decode pairs of the module, which are trusted.
fn decode(bytes: &[u8]) -> Pairs {
    let number = |at: usize| {
        let number = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
        number.map_or(0, |number| u32::from_le_bytes(*number) as usize)
    };
    let count = number(0);
    let mut at = 4 + 8 * count;
    let mut take = |length: usize| {
        let text = bytes.get(at..at + length).unwrap_or_default().to_vec();
        at += length + 1;
        text
    };
    (0..count).map(|nth| (take(number(4 + 8 * nth)), take(number(8 + 8 * nth)))).collect()
}

/// The root context.
pub(super) const ROOT: u32 = 1;

const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const BAD_ARGUMENT: i32 = 2;
const INVALID_MEMORY_ACCESS: i32 = 6;
const EMPTY: i32 = 7;
const CAS_MISMATCH: i32 = 8;
const INTERNAL_FAILURE: i32 = 10;
