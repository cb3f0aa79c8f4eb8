//! The wasm provider keeps the promises that every provider makes.

use std::time::Duration;

use bramble_host::{HostConfig, WasmProvider};
use bramble_provider::conformance::{self, Behaviour, Fixture};
use bramble_provider::{Code, Digest, FunctionName, FunctionSpec};

const BEHAVIOURS: [Behaviour; 5] =
    [Behaviour::Echo, Behaviour::Shout, Behaviour::Fail, Behaviour::Hang, Behaviour::Complain];

struct Wasm {
    provider: WasmProvider,
    modules: Vec<(Behaviour, Digest)>,
}

impl Fixture for Wasm {
    type Provider = WasmProvider;

    fn provider(&self) -> &WasmProvider {
        &self.provider
    }

    fn spec(&self, name: &FunctionName, behaviour: Behaviour) -> FunctionSpec {
        let (_, module) =
            self.modules.iter().find(|(known, _)| *known == behaviour).expect("every behaviour has a module");
        FunctionSpec::new(name.clone(), Code::Module(*module))
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A command with the given body of `_start`; `$echo` copies stdin to stdout.
fn command(start: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (data (i32.const 64) "shouted")
          (data (i32.const 96) "a complaint\n")
          (func $print (param $fd i32) (param $at i32) (param $len i32)
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $len))
            (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
          (func $echo
            (loop $next
              (i32.store (i32.const 0) (i32.const 1024))
              (i32.store (i32.const 4) (i32.const 32768))
              (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
              (if (i32.load (i32.const 8)) (then
                (call $print (i32.const 1) (i32.const 1024) (i32.load (i32.const 8)))
                (br $next)))))
          (func (export "_start") {start}))"#
    );
    wat::parse_str(text).expect("the text is valid")
}

fn module(behaviour: Behaviour) -> Vec<u8> {
    command(match behaviour {
        Behaviour::Echo => "(call $echo)",
        Behaviour::Shout => "(call $print (i32.const 1) (i32.const 64) (i32.const 7))",
        Behaviour::Fail => "(call $exit (i32.const 3))",
        Behaviour::Hang => "(loop $ever (br $ever))",
        Behaviour::Complain => "(call $print (i32.const 2) (i32.const 96) (i32.const 12)) (call $echo)",
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_promises_of_a_provider() {
    let dir = tempfile::tempdir().unwrap();
    let provider = WasmProvider::open(HostConfig::in_dir(dir.path()), &prometheus::Registry::new()).unwrap();
    let mut modules = Vec::new();
    for behaviour in BEHAVIOURS {
        let info = provider.put_module(module(behaviour).into()).await.unwrap();
        modules.push((behaviour, info.digest));
    }
    conformance::check(&Wasm { provider, modules }).await;
}
