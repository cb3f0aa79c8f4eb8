//! Machines with little to give: the engine sizes itself, and says what it settled on.

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
    for bytes in [16 << 30, 6 << 30] {
        let gateway = limited(bytes);
        let engine = gateway.get("/system/info").expect(200).json()["wasm"].clone();
        assert_eq!(engine["allocator"], "on-demand", "{engine}");
        assert!(engine["reason"].is_string(), "{engine}");
        assert!(gateway.log().contains("wasm engine is smaller than asked for"), "{}", gateway.log());
        gateway.deploy("cat", &guest::cat());
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let answer = gateway.invoke("cat", "served");
                    match answer.status.as_u16() {
                        429 => assert_ne!(answer.header("retry-after"), ""),
                        _ => answer.says(200, "served"),
                    }
                });
            }
        });
        wait::until("it serves", || gateway.invoke("cat", "served").status == 200);
    }
}
