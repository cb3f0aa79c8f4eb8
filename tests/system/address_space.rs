//! Machines with little to give: the engine sizes itself, and says what it settled on.

use serde_json::json;

use crate::support::{Gateway, Start, guest, wait};

/// A gateway that may map so many bytes.
fn limited(bytes: u64) -> Gateway {
    Start::new().under(&["prlimit", &format!("--as={bytes}")]).start()
}

#[test]
fn a_stock_pi_kernel_still_pools() {
    let gateway = limited(512 << 30);
    let engine = gateway.get("/system/info").expect(200).json()["wasm"].clone();
    assert_eq!(engine["allocator"], "pooling", "{engine}");
    assert!(engine["slots"].as_u64().unwrap() >= 64, "{engine}");
    assert!(engine["reason"].is_string(), "fewer than were asked for, and no reason: {engine}");
    assert!(gateway.log().contains("wasm engine is smaller than asked for"), "{}", gateway.log());
    assert_eq!(gateway.metric("bramble_wasm_pool_slots"), engine["slots"].as_f64().unwrap());
    // And the slots are there.
    gateway.deploy("cat", &guest::cat());
    gateway.scale("cat", 64);
    let mut wires: Vec<_> = (0..64).map(|_| gateway.wire()).collect();
    for wire in &mut wires {
        wire.begin("cat").chunk(b"here");
        assert_eq!(wire.response().status, 200);
    }
    assert_eq!(gateway.busy("cat"), 64.0);
}

#[test]
fn without_room_for_a_pool_it_says_why_and_works() {
    for bytes in [16 << 30, 2 << 30] {
        let gateway = limited(bytes);
        let engine = gateway.get("/system/info").expect(200).json()["wasm"].clone();
        assert_eq!(engine["allocator"], "on-demand", "{engine}");
        assert!(engine["reason"].is_string(), "{engine}");
        assert!(gateway.log().contains("wasm engine is smaller than asked for"), "{}", gateway.log());
        gateway.deploy("cat", &guest::cat());
        gateway.invoke("cat", "served").says(200, "served");
        // It has as many slots as it says, and not one more.
        let slots = engine["slots"].as_u64().unwrap();
        gateway.scale("cat", u32::try_from(slots).unwrap() + 1);
        let mut wires: Vec<_> = (0..=slots).map(|_| gateway.wire()).collect();
        let (last, held) = wires.split_last_mut().unwrap();
        for wire in held {
            wire.begin("cat").chunk(b"here");
            assert_eq!(wire.response().status, 200);
        }
        last.begin("cat").chunk(b"here");
        wait::until("one waits", || gateway.inflight("cat") > slots as f64);
        wires.remove(0);
        assert_eq!(wires.last_mut().unwrap().response().status, 200, "it had its turn");
    }
}

#[test]
fn limits_hold_without_a_pool_too() {
    let gateway = limited(4 << 30);
    let hungry = json!({"limits": {"memory": "16Mi"}});
    gateway.deploy_with("hungry", &guest::allocates(), hungry);
    gateway.deploy_with("loops", &guest::loops(), json!({"envVars": {"exec_timeout": "200ms"}}));
    gateway.deploy("traps", &guest::running("(drop (i32.load (i32.const 262144)))"));
    for _ in 0..3 {
        gateway.invoke("hungry", "").refused(500, "function_failed", "memory limit of 16Mi");
        gateway.invoke("loops", "").refused(504, "timed_out", "");
        gateway.invoke("traps", "").refused(500, "function_failed", "out-of-bounds");
    }
}
