//! What `wicketgate.wasm` asks of a host and offers to it. A host refuses a module with one import too many, so
//! this is checked on the file that ships.
#![allow(clippy::expect_used, reason = "this is a test, and a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;

use wasmparser::{ExternalKind, Parser, Payload};
use wicketgate_tests::artefacts;

/// All that proxies have of WASI in common.
const WASI: [&str; 6] =
    ["random_get", "environ_get", "environ_sizes_get", "clock_time_get", "fd_write", "proc_exit"];

/// What the filter calls of the ABI. The SDK's traits name most others, too; those are imported and never called, which
/// tests/emulator holds the filter to.
const CALLED: [&str; 21] = [
    "proxy_add_header_map_value",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
];

/// What only the SDK names.
const NAMED_BY_THE_SDK: [&str; 14] = [
    "proxy_call_foreign_function",
    "proxy_close_stream",
    "proxy_done",
    "proxy_get_header_map_value",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_resolve_shared_queue",
    "proxy_set_buffer_bytes",
    "proxy_set_header_map_pairs",
    "proxy_set_tick_period_milliseconds",
];

/// What Envoy calls: the ABI's version, a reactor's start, memory, and the callbacks that the filter works by.
const NEEDED: [&str; 12] = [
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_memory_allocate",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_vm_start",
];

/// The largest the file may be, in bytes: 2 MB, of which the algorithms that verify tokens take 330 KB and the decoders
/// of bodies 290 KB.
const BUDGET: usize = 2_000_000;

fn module() -> Vec<u8> {
    fs::read(artefacts::wasm()).expect("wicketgate.wasm is readable")
}

#[test]
fn imports_only_what_every_host_has() {
    let module = module();
    let mut imports = BTreeSet::new();
    for payload in Parser::new(0).parse_all(&module) {
        if let Payload::ImportSection(section) = payload.expect("wicketgate.wasm is a wasm module") {
            for import in section.into_imports() {
                let import = import.expect("an import can be read");
                imports.insert((import.module.to_owned(), import.name.to_owned()));
            }
        }
    }
    let refused: Vec<_> = imports
        .iter()
        .filter(|(module, name)| match module.as_str() {
            "env" => !name.starts_with("proxy_"),
            "wasi_snapshot_preview1" => !WASI.contains(&name.as_str()),
            _ => true,
        })
        .collect();
    assert!(refused.is_empty(), "a proxy cannot link {refused:?}");
    let missing: Vec<_> = CALLED
        .into_iter()
        .filter(|name| !imports.contains(&("env".to_owned(), (*name).to_owned())))
        .collect();
    assert!(missing.is_empty(), "missing {missing:?} in {imports:?}");
    let others: Vec<_> = imports
        .iter()
        .filter(|(module, name)| module == "env" && !CALLED.contains(&name.as_str()))
        .filter(|(_, name)| !NAMED_BY_THE_SDK.contains(&name.as_str()))
        .collect();
    assert!(others.is_empty(), "a host may lack {others:?}");
}

#[test]
fn exports_what_envoy_calls() {
    let module = module();
    let mut exports = BTreeSet::new();
    for payload in Parser::new(0).parse_all(&module) {
        if let Payload::ExportSection(section) = payload.expect("wicketgate.wasm is a wasm module") {
            for export in section {
                let export = export.expect("an export can be read");
                let memory = export.kind == ExternalKind::Memory;
                assert_eq!(memory, export.name == "memory", "{export:?}");
                exports.insert(export.name.to_owned());
            }
        }
    }
    let missing: Vec<_> = NEEDED.into_iter().filter(|name| !exports.contains(*name)).collect();
    assert!(missing.is_empty(), "missing {missing:?} in {exports:?}");
    let other: Vec<_> = exports.iter().filter(|name| name.starts_with("proxy_abi_version_")).collect();
    assert_eq!(other, ["proxy_abi_version_0_2_1"], "a host picks one of the versions");
}

#[test]
fn stays_within_its_size_budget() {
    let size = module().len();
    assert!(size <= BUDGET, "{size} bytes, and {BUDGET} is the budget");
}
