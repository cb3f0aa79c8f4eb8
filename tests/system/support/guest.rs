//! Small guests, one behaviour each, written out so that no compiler for wasm is needed.

/// What every guest begins with: the host's functions, memory, and three helpers.
///
/// The first 128 bytes of memory are for the arguments of host calls, a buffer lies at 65536.
const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory"
        (func $path_create_directory (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_send" (func $sock_send (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)

    (func $vector (param $at i32) (param $len i32)
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $len)))

    ;; How many bytes of stdin came into the buffer; 0 at the end.
    (func $read (result i32)
        (call $vector (i32.const 65536) (i32.const 65536))
        (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
        (i32.load (i32.const 8)))

    (func $write (param $fd i32) (param $at i32) (param $len i32)
        (loop $more
            (call $vector (local.get $at) (local.get $len))
            (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
            (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
            (local.set $len (i32.sub (local.get $len) (i32.load (i32.const 8))))
            (br_if $more (local.get $len))))

    (func $sleep (param $nanoseconds i64)
        (i32.store (i32.const 48) (i32.const 1)) ;; the clock that only goes forward
        (i64.store (i32.const 56) (local.get $nanoseconds))
        (if (call $poll_oneoff (i32.const 32) (i32.const 88) (i32.const 1) (i32.const 8)) (then unreachable)))
"#;

/// A guest that runs these instructions, with more definitions before its start function.
pub(crate) fn with(definitions: &str, start: &str) -> Vec<u8> {
    let text = format!("(module {PRELUDE} {definitions} (func (export \"_start\") {start}))");
    wat::parse_str(text).unwrap()
}

/// A guest that runs these instructions.
pub(crate) fn running(start: &str) -> Vec<u8> {
    with("", start)
}

/// Answers this text, whatever it is asked, and does not look at its stdin.
pub(crate) fn says(text: &str) -> Vec<u8> {
    with(&data(text), &format!("(call $write (i32.const 1) (i32.const 4096) (i32.const {}))", text.len()))
}

/// Puts text into memory at 4096.
pub(crate) fn data(text: &str) -> String {
    let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const 4096) \"{escaped}\")")
}

/// Answers what it is sent, as it comes.
pub(crate) fn cat() -> Vec<u8> {
    running(
        "(local $count i32)
        (loop $more
            (local.set $count (call $read))
            (if (local.get $count) (then
                (call $write (i32.const 1) (i32.const 65536) (local.get $count))
                (br $more))))",
    )
}

/// Runs for ever without a host call.
pub(crate) fn loops() -> Vec<u8> {
    running("(loop $again (br $again))")
}

/// Sleeps for an hour.
pub(crate) fn sleeps() -> Vec<u8> {
    running("(call $sleep (i64.const 3600000000000))")
}

/// Takes ever more memory, and aborts when it gets no more, as programs do.
pub(crate) fn allocates() -> Vec<u8> {
    running("(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable")
}

/// Writes 64 KiB pieces to a descriptor: so many, or without end.
pub(crate) fn floods(descriptor: u32, pieces: Option<u32>) -> Vec<u8> {
    let go_on = match pieces {
        None => "(br $more)".to_owned(),
        Some(pieces) => format!(
            "(local.set $done (i32.add (local.get $done) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $done) (i32.const {pieces})))"
        ),
    };
    running(&format!(
        "(local $done i32)
        (memory.fill (i32.const 65536) (i32.const 120) (i32.const 65536))
        (loop $more
            (call $write (i32.const {descriptor}) (i32.const 65536) (i32.const 65536))
            {go_on})"
    ))
}

/// Writes one byte each second, without end.
pub(crate) fn drips() -> Vec<u8> {
    with(
        &data("."),
        "(loop $more
            (call $write (i32.const 1) (i32.const 4096) (i32.const 1))
            (call $sleep (i64.const 1000000000))
            (br $more))",
    )
}

/// Answers its environment and then its arguments, one a line.
pub(crate) fn tells_environment() -> Vec<u8> {
    tells_environment_after("")
}

/// The same, behind a text.
pub(crate) fn tells_environment_after(text: &str) -> Vec<u8> {
    let write = format!("(call $write (i32.const 1) (i32.const 4096) (i32.const {}))", text.len());
    let first = if text.is_empty() { "" } else { &write };
    with(&(data(text) + LINES), &format!("{first} {TELL}"))
}

const LINES: &str = r#"(func $lines (param $size i32) (local $at i32)
            (if (i32.eqz (local.get $size)) (then return))
            (loop $next
                (if (i32.eqz (i32.load8_u offset=131072 (local.get $at)))
                    (then (i32.store8 offset=131072 (local.get $at) (i32.const 10))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (local.get $size))))
            (call $write (i32.const 1) (i32.const 131072) (local.get $size)))"#;

const TELL: &str = "(drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
        (drop (call $environ_get (i32.const 65536) (i32.const 131072)))
        (call $lines (i32.load (i32.const 20)))
        (drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
        (drop (call $args_get (i32.const 65536) (i32.const 131072)))
        (call $lines (i32.load (i32.const 20)))";

/// Logs and answers `first`, or `again` where the request has `X-Retry`, and then runs these instructions.
pub(crate) fn tells_retry(then: &str) -> Vec<u8> {
    let definitions = r#"(func $is_retry (param $size i32) (result i32) (local $at i32)
            (loop $next
                ;; "Http_X_R" and "etry"
                (if (i32.and
                        (i64.eq (i64.load offset=131072 (local.get $at)) (i64.const 0x525f585f70747448))
                        (i32.eq (i32.load offset=131080 (local.get $at)) (i32.const 0x79727465)))
                    (then (return (i32.const 1))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (local.get $size))))
            (i32.const 0))"#;
    let start = format!(
        "(local $word i32)
        (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
        (drop (call $environ_get (i32.const 65536) (i32.const 131072)))
        (local.set $word (i32.add (i32.const 4096)
            (i32.mul (i32.const 6) (call $is_retry (i32.load (i32.const 20))))))
        (call $write (i32.const 2) (local.get $word) (i32.const 6))
        (call $write (i32.const 1) (local.get $word) (i32.const 6))
        {then}"
    );
    with(&(data("first\nagain\n") + definitions), &start)
}

/// A WASI 0.2 command that runs these instructions; they leave its result: 0 is success.
pub(crate) fn component(definitions: &str, run: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $m {definitions} (func (export "run") (result i32) {run}))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $exported (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exported)))"#
    );
    wat::parse_str(text).unwrap()
}

/// A `wasi:http` component whose handler runs these instructions.
pub(crate) fn handler(definitions: &str, handle: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $answer))
            (core module $m {definitions} (func (export "handle") (param i32 i32) {handle}))
            (core instance $i (instantiate $m))
            (func $handle (param "request" (own $request)) (param "response-out" (own $answer))
                (canon lift (core func $i "handle")))
            (instance $exported (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $exported)))"#
    );
    wat::parse_str(text).unwrap()
}

/// A `wasi:http` component whose handler runs these instructions of `answers.wat`: `(call $open (i32.const 200))
/// (call $send (i32.const 10)) (call $finish)`. Its responses have a `content-length` where one is given.
pub(crate) fn answers(content_length: Option<u32>, handle: &str) -> Vec<u8> {
    let length = content_length.map(|length| length.to_string()).unwrap_or_default();
    let text = include_str!("../../wat/answers.wat").replace("DIGITS", &length.len().to_string());
    wat::parse_str(
        text.replace("\"LENGTH\"", &format!("\"{length}\"")).replace("HANDLE))", &format!("{handle}))")),
    )
    .unwrap()
}
