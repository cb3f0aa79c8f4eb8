//! What the tests put in a container: a function that does as it is told, and an HTTP server that
//! behaves well or badly. It needs nothing but the kernel, and is no example to copy.
//!
//! As the program that the watchdog starts, by `fprocess`:
//!
//! | `fprocess` | does |
//! | --- | --- |
//! | `/conform echo` | stdin to stdout, piece by piece |
//! | `/conform word WORD…` | prints the words |
//! | `/conform exit [CODE]` | ends with 3, or the code |
//! | `/conform hang` | never ends and never answers |
//! | `/conform log [LINE…]` | a line on stderr, then as `echo` |
//! | `/conform hostname` | prints which container this is |
//! | `/conform env [NAME]` | prints a variable, or all of them in order |
//! | `/conform read PATH` | prints a file, such as a secret |
//! | `/conform write PATH` | writes stdin to a file, or fails as the file system says |
//! | `/conform drip LINES [MS]` | prints a line, waits, and so on |
//! | `/conform spin MS` | keeps a processor busy for so long, then prints how long |
//! | `/conform allocate MIB` | touches so much memory, then prints how much |
//! | `/conform serve [PORT]` | serves HTTP, for `mode=http`; the port is 8082 unless given |
//!
//! What the server answers depends on the path: see `server.rs`.
//!
//! As the first process of the container (`/conform start`, the image's entry point), by variables:
//!
//! | variable | value | does |
//! | --- | --- | --- |
//! | `conform` | unset | becomes the watchdog |
//! | | `exit` | ends at once with `conform_exit`, or 1, after a line on stderr |
//! | | `never-listen` | runs, and nothing is on port 8080 |
//! | | `serve` | no watchdog: the server is on port 8080 |
//! | | a path of the server, such as `garbage` | the same, and all but `/_/health` is answered in this way |
//! | `conform_delay_ms` | a number | first waits: the watchdog, and `serve`, come up late |

mod function;
mod http;
mod server;
mod websocket;

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

const PORT: u16 = 8080;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["start"] => start(),
        ["serve"] => serve(8082),
        ["serve", port] => serve(function::number(port)?),
        ["park"] => park(),
        words => function::run(words),
    }
}

fn start() -> io::Result<ExitCode> {
    match env::var("conform").as_deref() {
        Err(_) => {
            delay()?;
            Err(Command::new("/fwatchdog").exec())
        }
        Ok("exit") => {
            eprintln!("ending at once, as the variable conform says");
            let code = env::var("conform_exit").unwrap_or_else(|_| "1".to_owned());
            Ok(ExitCode::from(function::number::<u8>(&code)?))
        }
        Ok("never-listen") => Err(supervised("/conform park")),
        Ok(_) => Err(supervised(&format!("/conform serve {PORT}"))),
    }
}

/// The first process of a container takes no signal that it has no handler for, and so a container
/// without one is only killed after its grace period. The watchdog has one; here it is out of the way.
fn supervised(command: &str) -> io::Error {
    Command::new("/fwatchdog")
        .env("fprocess", command)
        .env("mode", "http")
        .env("http_upstream_url", format!("http://127.0.0.1:{PORT}"))
        .env("port", "8079")
        .env("metrics_port", "8078")
        .env("write_timeout", "1s")
        .env("healthcheck_interval", "10ms")
        .exec()
}

fn serve(port: u16) -> io::Result<ExitCode> {
    delay()?;
    server::run(port)
}

fn delay() -> io::Result<()> {
    if let Ok(milliseconds) = env::var("conform_delay_ms") {
        thread::sleep(Duration::from_millis(function::number(&milliseconds)?));
    }
    Ok(())
}

fn park() -> io::Result<ExitCode> {
    loop {
        thread::park();
    }
}
