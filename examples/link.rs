//! The build script of the functions that the stack of .cargo/config.toml does not fit.
//!
//! Memory that is there from the start is cheaper than memory that grows: each growth is a call of the
//! kernel, 3 to 8 µs of an invocation that takes 10.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=../link.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("wasi") {
        return;
    }
    let argument = match env::var("CARGO_PKG_NAME").as_deref() {
        // Next to nothing is on its stack, and so its buffer is in the first page too.
        Ok("echo") => "-zstack-size=16384",
        // At the depth that serde_json allows, reading takes 48 KiB of stack.
        Ok("json-sum") => "-zstack-size=65536",
        // Two and three pages, with room for the heap behind 28 and 75 KiB of data.
        Ok("nodeinfo") => "--initial-memory=131072",
        Ok("markdown") => "--initial-memory=196608",
        // rustc exports nothing of a program but its start.
        Ok("state") => "--export=wizer-initialize",
        _ => return,
    };
    println!("cargo::rustc-link-arg-bins={argument}");
}
