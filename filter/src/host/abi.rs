//! Host calls of proxy-wasm ABI 0.2.1 (`abi-versions/v0.2.1/README.md` of the specification).

use std::ptr::null_mut;

use std::time::Duration;

use super::{Buffer, Calls, HeaderMap, HttpCall, MetricKind, Status};

/// The host that this VM runs in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abi;

/// `proxy_status_t`.
const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;

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
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, metric: *mut u32) -> u32;
    fn proxy_increment_metric(metric: u32, by: i64) -> u32;
    fn proxy_record_metric(metric: u32, value: u64) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        data: *const u8,
        size: usize,
        version: u32,
    ) -> u32;
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

impl Calls for Abi {
    fn header_map(&self, map: HeaderMap) -> Option<Vec<u8>> {
        // SAFETY: both pointers are to locals that outlive the call.
        returned(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) }).ok()
    }

    fn buffer(&self, buffer: Buffer, len: usize) -> Option<Vec<u8>> {
        // SAFETY: as in `header_map`.
        returned(|data, size| unsafe { proxy_get_buffer_bytes(buffer as u32, 0, len, data, size) }).ok()
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let path = path.join("\0");
        // SAFETY: as in `header_map`; `path` outlives the call, and the host only reads it.
        returned(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }).ok()
    }

    fn now_nanos(&self) -> u64 {
        let mut time = 0;
        // SAFETY: the pointer is to a local that outlives the call.
        match unsafe { proxy_get_current_time_nanoseconds(&raw mut time) } {
            OK => time,
            _ => 0,
        }
    }

    /// WASI's `random_get`, which a host answers from its TLS library's generator. It has no way to fail there short of
    /// ending the process.
    fn fill_random(&self, buffer: &mut [u8]) -> bool {
        getrandom::fill(buffer).is_ok()
    }

    fn send_local_response(&self, status: u16, headers: &[u8], body: &[u8]) -> bool {
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

    fn add_header(&self, map: HeaderMap, name: &str, value: &str) -> bool {
        // SAFETY: both outlive the call, and the host only reads them.
        let result = unsafe {
            proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
        };
        result == OK
    }

    fn replace_header(&self, map: HeaderMap, name: &str, value: &[u8]) -> bool {
        // SAFETY: as in `add_header`.
        let result = unsafe {
            proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
        };
        result == OK
    }

    fn remove_header(&self, map: HeaderMap, name: &str) -> bool {
        // SAFETY: `name` outlives the call, and the host only reads it.
        unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) == OK }
    }

    fn resume_request(&self) -> bool {
        /// `proxy_stream_type_t`.
        const HTTP_REQUEST: u32 = 0;
        // SAFETY: no pointer is involved.
        unsafe { proxy_continue_stream(HTTP_REQUEST) == OK }
    }

    fn set_effective_context(&self, context: u32) -> bool {
        // SAFETY: no pointer is involved.
        unsafe { proxy_set_effective_context(context) == OK }
    }

    /// The SDK keeps track of who called, so this call has to go through it; of the statuses that a host has for it, the
    /// SDK takes all.
    fn dispatch(&self, call: HttpCall<'_>) -> Option<u32> {
        let HttpCall { upstream, headers, body, timeout } = call;
        let body = (!body.is_empty()).then_some(body);
        let timeout = timeout.max(Duration::from_millis(1));
        proxy_wasm::hostcalls::dispatch_http_call(upstream, headers.to_vec(), body, vec![], timeout).ok()
    }

    fn register_queue(&self, name: &str) -> Option<u32> {
        let mut queue = 0;
        // SAFETY: all pointers are to memory that outlives the call.
        let result = unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut queue) };
        (result == OK).then_some(queue)
    }

    fn enqueue(&self, queue: u32) -> bool {
        const TOKEN: &[u8] = b"1";
        // SAFETY: the token outlives the call, and the host only reads it.
        unsafe { proxy_enqueue_shared_queue(queue, TOKEN.as_ptr(), TOKEN.len()) == OK }
    }

    fn dequeue(&self, queue: u32) -> bool {
        // SAFETY: as in `header_map`.
        returned(|data, size| unsafe { proxy_dequeue_shared_queue(queue, data, size) }).is_ok()
    }

    fn shared_data(&self, key: &str) -> Result<(Vec<u8>, u32), Status> {
        let mut version = 0;
        // SAFETY: all pointers are to memory that outlives the call, and the host only reads the key.
        let value = returned(|data, size| unsafe {
            proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version)
        })?;
        Ok((value, version))
    }

    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> Result<(), Status> {
        // SAFETY: both outlive the call, and the host only reads them.
        let result =
            unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) };
        status(result)
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32> {
        let mut metric = 0;
        // SAFETY: all pointers are to memory that outlives the call, and the host only reads the name.
        let result = unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut metric) };
        (result == OK).then_some(metric)
    }

    fn add_to_metric(&self, metric: u32, by: i64) -> bool {
        // SAFETY: no pointer is involved.
        unsafe { proxy_increment_metric(metric, by) == OK }
    }

    fn record_metric(&self, metric: u32, value: u64) -> bool {
        // SAFETY: no pointer is involved.
        unsafe { proxy_record_metric(metric, value) == OK }
    }

    fn set_property(&self, path: &str, value: &[u8]) -> bool {
        // SAFETY: both outlive the call, and the host only reads them.
        unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) == OK }
    }
}

fn status(result: u32) -> Result<(), Status> {
    match result {
        OK => Ok(()),
        NOT_FOUND => Err(Status::NotFound),
        CAS_MISMATCH => Err(Status::CasMismatch),
        _ => Err(Status::Failed),
    }
}

/// Takes over what a host call returned through `data` and `size`.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let mut data: *mut u8 = null_mut();
    let mut size: usize = 0;
    status(call(&raw mut data, &raw mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host got this memory from the SDK's `proxy_on_memory_allocate(size)`, which makes a boxed slice of
    // exactly `size` bytes, filled it, and gave it up.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}
