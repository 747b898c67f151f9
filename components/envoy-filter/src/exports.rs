//! The functions that the proxy calls, by their names in proxy-wasm 0.2.1.
//!
//! The proxy does not call a function that is missing here. A call costs a request about a microsecond, so the functions
//! for the end of a stream are left out.

#![allow(unsafe_code, reason = "names that the proxy finds")]

use crate::abi::{self, Root, Stream};
use crate::vm::Vm;

thread_local! {
    static VM: Vm = Vm::default();
}

/// Called once, before all other functions. Without this call of the constructors the linker would add one to every export.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    unsafe { __wasm_call_ctors() };
}

/// The version of the ABI.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    abi::allocate(size)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    VM.with(|vm| vm.create(context, Root(root)));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_root: u32, _configuration_size: usize) -> i32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, configuration_size: usize) -> i32 {
    VM.with(|vm| vm.configure(Root(root), configuration_size)).into()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    VM.with(|vm| vm.plugin(Root(root)).inspect(|plugin| plugin.run()));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_queue_ready(root: u32, queue: u32) {
    VM.with(|vm| vm.plugin(Root(root)).inspect(|plugin| plugin.queue_ready(queue)));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(
    root: u32,
    number: u32,
    headers: usize,
    body_size: usize,
    _trailers: usize,
) {
    VM.with(|vm| vm.plugin(Root(root)).inspect(|plugin| plugin.call_ended(number, headers, body_size)));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(stream: u32, _headers: usize, _is_end: i32) -> i32 {
    VM.with(|vm| vm.request(Stream(stream))) as i32
}
