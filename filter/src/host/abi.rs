//! Host calls of proxy-wasm ABI 0.2.1 (`abi-versions/v0.2.1/README.md` of the specification).

use std::ptr::null_mut;

/// `proxy_map_type_t`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum HeaderMap {
    /// Fields of the request; readable while its head is being handled.
    Request = 0,
    /// Fields of the response; changeable while its head is being handled.
    Response = 2,
    /// Fields of a callout's answer; readable in its callback.
    CalloutResponse = 6,
}

/// `proxy_buffer_type_t`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Buffer {
    /// The body of the request as far as it is buffered.
    RequestBody = 0,
    /// The body of a callout's answer.
    CalloutResponseBody = 4,
    /// The configuration document.
    PluginConfiguration = 7,
}

/// `proxy_status_t`: OK.
const OK: u32 = 0;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_register_shared_queue(name: *const u8, name_size: usize, queue: *mut u32) -> u32;
    fn proxy_enqueue_shared_queue(queue: u32, data: *const u8, size: usize) -> u32;
    fn proxy_dequeue_shared_queue(queue: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

/// All fields of a map, as [`super::decode_pairs`] reads them.
pub(crate) fn header_map(map: HeaderMap) -> Option<Vec<u8>> {
    // SAFETY: both pointers are to locals that outlive the call.
    returned(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) })
}

/// `len` bytes from the start of a buffer; fewer, if it has no more.
pub(crate) fn buffer(buffer: Buffer, len: usize) -> Option<Vec<u8>> {
    // SAFETY: as in `header_map`.
    returned(|data, size| unsafe { proxy_get_buffer_bytes(buffer as u32, 0, len, data, size) })
}

/// A property by its path, such as `["source", "address"]` (Envoy: "Attributes").
pub(crate) fn property(path: &[&str]) -> Option<Vec<u8>> {
    let path = path.join("\0");
    // SAFETY: as in `header_map`; `path` outlives the call, and the host only reads it.
    returned(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Nanoseconds since the epoch; 0 if the host has no clock.
pub(crate) fn now_nanos() -> u64 {
    let mut time = 0;
    // SAFETY: the pointer is to a local that outlives the call.
    match unsafe { proxy_get_current_time_nanoseconds(&raw mut time) } {
        OK => time,
        _ => 0,
    }
}

/// Answers the request. `headers` is what [`super::encode_pairs`] made. Says whether the host took it.
pub(crate) fn send_local_response(status: u16, headers: &[u8], body: &[u8]) -> bool {
    const DETAILS: &str = "wicketgate";
    /// No gRPC status.
    const NONE: i32 = -1;
    // SAFETY: all slices outlive the call, and the host only reads them.
    let result = unsafe {
        proxy_send_local_response(
            u32::from(status),
            DETAILS.as_ptr(),
            DETAILS.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NONE,
        )
    };
    result == OK
}

/// Removes every field of this name. Legal while the head is being handled.
pub(crate) fn remove_header(map: HeaderMap, name: &str) -> bool {
    // SAFETY: `name` outlives the call, and the host only reads it.
    unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) == OK }
}

/// Adds a field. Legal while the head is being handled.
pub(crate) fn add_header(map: HeaderMap, name: &str, value: &str) -> bool {
    // SAFETY: both outlive the call, and the host only reads them.
    let result = unsafe {
        proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
    result == OK
}

/// Gives a field one value, in place of all that it has. Legal while the head is being handled.
pub(crate) fn replace_header(map: HeaderMap, name: &str, value: &[u8]) -> bool {
    // SAFETY: both outlive the call, and the host only reads them.
    let result = unsafe {
        proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
    result == OK
}

/// Lets a request go on that has been held.
pub(crate) fn resume_request() -> bool {
    /// `proxy_stream_type_t`.
    const HTTP_REQUEST: u32 = 0;
    // SAFETY: no pointer is involved.
    unsafe { proxy_continue_stream(HTTP_REQUEST) == OK }
}

/// Makes the calls that follow count for this request, until the current callback returns.
pub(crate) fn set_effective_context(context: u32) -> bool {
    // SAFETY: no pointer is involved.
    unsafe { proxy_set_effective_context(context) == OK }
}

/// Makes a queue that calls this root context back, on this thread, when something is put into it.
pub(crate) fn register_queue(name: &str) -> Option<u32> {
    let mut queue = 0;
    // SAFETY: all pointers are to memory that outlives the call.
    let result = unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut queue) };
    (result == OK).then_some(queue)
}

/// Puts one token into a queue.
pub(crate) fn enqueue(queue: u32) -> bool {
    const TOKEN: &[u8] = b"1";
    // SAFETY: the token outlives the call, and the host only reads it.
    unsafe { proxy_enqueue_shared_queue(queue, TOKEN.as_ptr(), TOKEN.len()) == OK }
}

/// Takes one token out of a queue. Says whether there was one.
pub(crate) fn dequeue(queue: u32) -> bool {
    // SAFETY: as in `header_map`.
    returned(|data, size| unsafe { proxy_dequeue_shared_queue(queue, data, size) }).is_some()
}

/// Takes over what a host call returned through `data` and `size`.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data: *mut u8 = null_mut();
    let mut size: usize = 0;
    if call(&raw mut data, &raw mut size) != OK {
        return None;
    }
    if data.is_null() || size == 0 {
        return Some(Vec::new());
    }
    // SAFETY: the host got this memory from the SDK's `proxy_on_memory_allocate(size)`, which makes a boxed slice of
    // exactly `size` bytes, filled it, and gave it up.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}
