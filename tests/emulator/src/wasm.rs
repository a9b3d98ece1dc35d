//! The module that ships, under wasmtime.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use wasmtime::{Caller, Config, Engine, Func, Instance, Linker, Memory, Module, Store, TypedFunc, Val};

use crate::callback::Callback;
use crate::machine::Machine;
use crate::world::{SharedWorld, Status};

/// What host functions know.
struct Guest {
    world: SharedWorld,
    worker: usize,
    memory: Option<Memory>,
    allocate: Option<TypedFunc<u32, u32>>,
}

/// See the module.
pub(crate) struct Wasm {
    store: Store<Guest>,
    instance: Instance,
    count: Count,
    busy: Duration,
}

/// What of a run is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Instructions, which takes time of its own.
    Fuel,
    Nothing,
}

/// The module, compiled once for all.
fn module(count: Count) -> &'static Module {
    static COUNTED: OnceLock<Module> = OnceLock::new();
    static UNCOUNTED: OnceLock<Module> = OnceLock::new();
    let compiled = match count {
        Count::Fuel => &COUNTED,
        Count::Nothing => &UNCOUNTED,
    };
    compiled.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/wicketgate.wasm");
        assert!(
            path.exists(),
            "target/wicketgate.wasm is missing, and this test needs it. Run `make build` first, or `make test`."
        );
        let mut config = Config::new();
        config.consume_fuel(count == Count::Fuel);
        let engine = Engine::new(&config).expect("wasmtime can compile for this machine");
        Module::from_file(&engine, &path).expect("target/wicketgate.wasm is a module")
    })
}

impl Wasm {
    pub(crate) fn new(world: SharedWorld, worker: usize, count: Count) -> Self {
        let module = module(count);
        let mut store = Store::new(module.engine(), Guest { world, worker, memory: None, allocate: None });
        if count == Count::Fuel {
            store.set_fuel(u64::MAX).expect("fuel is on");
        }
        let mut linker = Linker::new(module.engine());
        define(&mut linker).expect("no host function is defined twice");
        define_wasi(&mut linker).expect("no host function is defined twice");
        for import in module.imports() {
            let Some(ty) = import.ty().func().cloned() else { continue };
            if linker.get(&mut store, import.module(), import.name()).is_ok() {
                continue;
            }
            // Imported because the SDK names it; to call it is a violation.
            let name = import.name().to_owned();
            let function = Func::new(&mut store, ty, move |caller, _, results| {
                caller.data().world.borrow_mut().violation(format!("calls {name}, which is not emulated"));
                if let Some(result) = results.first_mut() {
                    *result = Val::I32(Status::Unimplemented as i32);
                }
                Ok(())
            });
            linker.define(&store, import.module(), import.name(), function).expect("defined once");
        }
        let instance = linker.instantiate(&mut store, module).expect("all imports are there");
        store.data_mut().memory = instance.get_memory(&mut store, "memory");
        store.data_mut().allocate = instance.get_typed_func(&mut store, "proxy_on_memory_allocate").ok();
        instance
            .get_typed_func::<(), ()>(&mut store, "_initialize")
            .and_then(|initialize| initialize.call(&mut store, ()))
            .expect("the module starts");
        Self { store, instance, count, busy: Duration::ZERO }
    }
}

impl Machine for Wasm {
    fn call(&mut self, callback: Callback) -> Result<u32, String> {
        let function = self
            .instance
            .get_func(&mut self.store, callback.name())
            .ok_or_else(|| format!("no export {}", callback.name()))?;
        let arguments: Vec<_> =
            callback.arguments().into_iter().map(|argument| Val::I32(argument.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        let began = Instant::now();
        function.call(&mut self.store, &arguments, &mut results).map_err(|trap| format!("{trap:?}"))?;
        self.busy += began.elapsed();
        Ok(results.first().map_or(0, |result| result.unwrap_i32().cast_unsigned()))
    }

    fn fuel(&mut self) -> u64 {
        match self.count {
            Count::Fuel => u64::MAX - self.store.get_fuel().expect("fuel is on"),
            Count::Nothing => 0,
        }
    }

    fn busy(&self) -> Duration {
        self.busy
    }

    fn memory(&mut self) -> usize {
        self.store.data().memory.map_or(0, |memory| memory.data_size(&self.store))
    }
}

type Host<'a> = Caller<'a, Guest>;

/// `len` bytes of the VM's memory.
fn read(host: &Host<'_>, at: u32, len: u32) -> Vec<u8> {
    let memory = host.data().memory.expect("the module has a memory");
    let (at, len) = (at as usize, len as usize);
    memory.data(host)[at..at + len].to_vec()
}

fn write(host: &mut Host<'_>, at: u32, bytes: &[u8]) {
    let memory = host.data().memory.expect("the module has a memory");
    memory.write(host, at as usize, bytes).expect("a pointer of the VM is in its memory");
}

fn write_number(host: &mut Host<'_>, at: u32, number: u32) {
    write(host, at, &number.to_le_bytes());
}

/// Hands bytes over in memory that the VM allocates (`copyToPointerSize`).
fn hand_over(host: &mut Host<'_>, bytes: &[u8], data: u32, size: u32) -> wasmtime::Result<()> {
    let len = u32::try_from(bytes.len()).expect("a VM is addressed by 32 bits");
    let mut at = 0;
    if len > 0 {
        let allocate = host.data().allocate.clone().expect("the module allocates");
        at = allocate.call(&mut *host, len)?;
        write(host, at, bytes);
    }
    write_number(host, data, at);
    write_number(host, size, len);
    Ok(())
}

fn code(result: Result<(), Status>) -> u32 {
    result.map_or_else(|status| status as u32, |()| 0)
}

/// Hands a result over, or says why there is none.
fn hand_result(
    host: &mut Host<'_>,
    result: Result<Vec<u8>, Status>,
    data: u32,
    size: u32,
) -> wasmtime::Result<u32> {
    match result {
        Ok(bytes) => hand_over(host, &bytes, data, size).map(|()| 0),
        Err(status) => Ok(status as u32),
    }
}

#[allow(clippy::too_many_lines, reason = "one host function after the other")]
fn define(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_log", |host: Host<'_>, level: u32, at: u32, len: u32| {
        let message = String::from_utf8_lossy(&read(&host, at, len)).into_owned();
        host.data().world.borrow_mut().log(level, &message);
        0_u32
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |mut host: Host<'_>, map: u32, data: u32, size: u32| {
            let worker = host.data().worker;
            let pairs = host.data().world.borrow_mut().header_map(worker, map);
            hand_result(&mut host, Ok(pairs), data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_add_header_map_value",
        |host: Host<'_>, map: u32, name: u32, name_len: u32, value: u32, value_len: u32| {
            let (name, value) = (read(&host, name, name_len), read(&host, value, value_len));
            let worker = host.data().worker;
            code(host.data().world.borrow_mut().add_header(worker, map, &name, &value))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_replace_header_map_value",
        |host: Host<'_>, map: u32, name: u32, name_len: u32, value: u32, value_len: u32| {
            let (name, value) = (read(&host, name, name_len), read(&host, value, value_len));
            let worker = host.data().worker;
            code(host.data().world.borrow_mut().replace_header(worker, map, &name, &value))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_remove_header_map_value",
        |host: Host<'_>, map: u32, name: u32, name_len: u32| {
            let name = read(&host, name, name_len);
            let worker = host.data().worker;
            code(host.data().world.borrow_mut().remove_header(worker, map, &name))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut host: Host<'_>, buffer: u32, start: u32, len: u32, data: u32, size: u32| {
            let worker = host.data().worker;
            let bytes = host.data().world.borrow_mut().buffer(worker, buffer, start as usize, len as usize);
            hand_result(&mut host, bytes, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |mut host: Host<'_>, path: u32, path_len: u32, data: u32, size: u32| {
            let path = String::from_utf8_lossy(&read(&host, path, path_len)).into_owned();
            let worker = host.data().worker;
            let value = host.data().world.borrow_mut().property(worker, &path);
            hand_result(&mut host, value, data, size)
        },
    )?;
    linker.func_wrap("env", "proxy_get_current_time_nanoseconds", |mut host: Host<'_>, at: u32| {
        let now = host.data().world.borrow_mut().now();
        write(&mut host, at, &now.to_le_bytes());
        0_u32
    })?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |host: Host<'_>,
         status: u32,
         _details: u32,
         _details_len: u32,
         body: u32,
         body_len: u32,
         headers: u32,
         headers_len: u32,
         _grpc: i32| {
            let (body, headers) = (read(&host, body, body_len), read(&host, headers, headers_len));
            let worker = host.data().worker;
            code(host.data().world.borrow_mut().send_local_response(worker, status, &headers, &body))
        },
    )?;
    linker.func_wrap("env", "proxy_continue_stream", |host: Host<'_>, kind: u32| {
        let worker = host.data().worker;
        code(host.data().world.borrow_mut().continue_stream(worker, kind))
    })?;
    linker.func_wrap("env", "proxy_set_effective_context", |host: Host<'_>, context: u32| {
        let worker = host.data().worker;
        code(host.data().world.borrow_mut().set_effective_context(worker, context))
    })?;
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |mut host: Host<'_>,
         cluster: u32,
         cluster_len: u32,
         headers: u32,
         headers_len: u32,
         body: u32,
         body_len: u32,
         _trailers: u32,
         _trailers_len: u32,
         timeout: u32,
         token: u32| {
            let cluster = read(&host, cluster, cluster_len);
            let headers = read(&host, headers, headers_len);
            let body = read(&host, body, body_len);
            let worker = host.data().worker;
            let result = host.data().world.borrow_mut().http_call(worker, &cluster, &headers, &body, timeout);
            match result {
                Ok(number) => {
                    write_number(&mut host, token, number);
                    0
                }
                Err(status) => status as u32,
            }
        },
    )?;
    define_shared(linker)
}

fn define_shared(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_register_shared_queue",
        |mut host: Host<'_>, name: u32, name_len: u32, queue: u32| {
            let name = read(&host, name, name_len);
            let worker = host.data().worker;
            let id = host.data().world.borrow_mut().register_queue(worker, &name);
            write_number(&mut host, queue, id);
            0_u32
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_enqueue_shared_queue",
        |host: Host<'_>, queue: u32, token: u32, len: u32| {
            let token = read(&host, token, len);
            code(host.data().world.borrow_mut().enqueue(queue, &token))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_dequeue_shared_queue",
        |mut host: Host<'_>, queue: u32, data: u32, size: u32| {
            let token = host.data().world.borrow_mut().dequeue(queue);
            hand_result(&mut host, token, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut host: Host<'_>, key: u32, key_len: u32, data: u32, size: u32, version: u32| {
            let key = read(&host, key, key_len);
            let result = host.data().world.borrow_mut().shared_data(&key);
            if let Ok((_, number)) = &result {
                write_number(&mut host, version, *number);
            }
            hand_result(&mut host, result.map(|(value, _)| value), data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |mut host: Host<'_>, kind: u32, name: u32, len: u32, metric: u32| {
            let name = String::from_utf8_lossy(&read(&host, name, len)).into_owned();
            let id = host.data().world.borrow_mut().define_metric(kind, &name);
            write_number(&mut host, metric, id);
            0_u32
        },
    )?;
    linker.func_wrap("env", "proxy_record_metric", |host: Host<'_>, metric: u32, value: u64| {
        code(host.data().world.borrow_mut().record_metric(metric, value))
    })?;
    linker.func_wrap(
        "env",
        "proxy_set_property",
        |host: Host<'_>, path: u32, path_len: u32, value: u32, len: u32| {
            let path = String::from_utf8_lossy(&read(&host, path, path_len)).into_owned();
            host.data().world.borrow_mut().set_property(&path, &read(&host, value, len));
            0_u32
        },
    )?;
    linker.func_wrap("env", "proxy_increment_metric", |host: Host<'_>, metric: u32, by: i64| {
        code(host.data().world.borrow_mut().increment_metric(metric, by))
    })?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |host: Host<'_>, key: u32, key_len: u32, value: u32, len: u32, version: u32| {
            let (key, value) = (read(&host, key, key_len), read(&host, value, len));
            code(host.data().world.borrow_mut().set_shared_data(&key, &value, version))
        },
    )?;
    Ok(())
}

/// What the module uses of WASI: clock and randomness of the world's, no environment, no files.
fn define_wasi(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    const WASI: &str = "wasi_snapshot_preview1";
    linker.func_wrap(WASI, "random_get", |mut host: Host<'_>, at: u32, len: u32| {
        let mut bytes = vec![0; len as usize];
        host.data().world.borrow_mut().fill_random(&mut bytes);
        write(&mut host, at, &bytes);
        0_u32
    })?;
    linker.func_wrap(WASI, "environ_sizes_get", |mut host: Host<'_>, count: u32, size: u32| {
        write_number(&mut host, count, 0);
        write_number(&mut host, size, 0);
        0_u32
    })?;
    linker.func_wrap(WASI, "environ_get", |_: u32, _: u32| 0_u32)?;
    linker.func_wrap(WASI, "clock_time_get", |mut host: Host<'_>, _: u32, _: u64, at: u32| {
        let now = host.data().world.borrow().now_nanos;
        write(&mut host, at, &now.to_le_bytes());
        0_u32
    })?;
    Ok(())
}
