//! The functions of the host, as the ABI declares them.

/// Declares the functions. In unit tests, without a host, each returns a status and does nothing.
macro_rules! imports {
    ($($module:literal { $(fn $name:ident($($argument:ident: $of:ty),*);)* })*) => {$(
        #[cfg(target_arch = "wasm32")]
        #[link(wasm_import_module = $module)]
        unsafe extern "C" {
            $(pub(super) fn $name($($argument: $of),*) -> i32;)*
        }
        $(
            #[cfg(not(target_arch = "wasm32"))]
            pub(super) unsafe fn $name($(_: $of),*) -> i32 {
                UNIMPLEMENTED
            }
        )*
    )*};
}

imports! {
    "env" {
        fn proxy_log(level: i32, text: *const u8, text_size: usize);
        fn proxy_set_effective_context(context: u32);
        fn proxy_set_tick_period_milliseconds(period: u32);
        fn proxy_get_buffer_bytes(buffer: i32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize);
        fn proxy_get_header_map_value(
            map: i32, name: *const u8, name_size: usize, data: *mut *mut u8, size: *mut usize
        );
        fn proxy_get_header_map_pairs(map: i32, data: *mut *mut u8, size: *mut usize);
        fn proxy_replace_header_map_value(
            map: i32, name: *const u8, name_size: usize, value: *const u8, value_size: usize
        );
        fn proxy_remove_header_map_value(map: i32, name: *const u8, name_size: usize);
        fn proxy_add_header_map_value(
            map: i32, name: *const u8, name_size: usize, value: *const u8, value_size: usize
        );
        fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize);
        fn proxy_continue_stream(stream: i32);
        fn proxy_send_local_response(
            status: u32, details: *const u8, details_size: usize, body: *const u8, body_size: usize,
            headers: *const u8, headers_size: usize, grpc_status: i32
        );
        fn proxy_http_call(
            cluster: *const u8, cluster_size: usize, headers: *const u8, headers_size: usize,
            body: *const u8, body_size: usize, trailers: *const u8, trailers_size: usize,
            timeout_ms: u32, number: *mut u32
        );
        fn proxy_get_shared_data(
            key: *const u8, key_size: usize, data: *mut *mut u8, size: *mut usize, version: *mut u32
        );
        fn proxy_set_shared_data(
            key: *const u8, key_size: usize, value: *const u8, value_size: usize, version: u32
        );
        fn proxy_register_shared_queue(name: *const u8, name_size: usize, queue: *mut u32);
        fn proxy_dequeue_shared_queue(queue: u32, data: *mut *mut u8, size: *mut usize);
        fn proxy_enqueue_shared_queue(queue: u32, message: *const u8, message_size: usize);
        fn proxy_define_metric(kind: i32, name: *const u8, name_size: usize, metric: *mut u32);
        fn proxy_increment_metric(metric: u32, count: i64);
        fn proxy_record_metric(metric: u32, value: u64);
    }
    "wasi_snapshot_preview1" {
        fn environ_sizes_get(count: *mut usize, size: *mut usize);
        fn environ_get(pointers: *mut *mut u8, lines: *mut u8);
        fn clock_time_get(clock: i32, precision: u64, time: *mut u64);
        fn random_get(bytes: *mut u8, size: usize);
    }
}

#[cfg(not(target_arch = "wasm32"))]
const UNIMPLEMENTED: i32 = 12;
