//! The server: what it answers is the first word of the path.
//!
//! | path | answer |
//! | --- | --- |
//! | `/echo`, and all that is not here | the body, as long or in as many chunks as it comes, piece by piece |
//! | `/_/health` | 200 |
//! | `/hostname` | which container this is |
//! | `/status/418` | this status |
//! | `/wait?ms=100` | 200 after this time |
//! | `/sse?events=5&ms=100` | an event every so often |
//! | `/ws` | a WebSocket that echoes its messages |
//! | `/upgrade` | status 101, then the bytes that come |
//! | `/early` | 413, before the body is read, and the end of the connection |
//! | `/garbage` | bytes that are not HTTP |
//! | `/headers?kib=102400` | a head of this size |
//! | `/cut` | 10 of 1,000 bytes, and the end of the connection |
//! | `/reset` | the end of the connection |
//! | `/silent` | nothing, for ever |

use std::env;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crate::function;
use crate::http::{self, Framing, Head};
use crate::websocket;

/// Serves until it is killed, with a thread for each connection.
pub(crate) fn run(port: u16) -> io::Result<ExitCode> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    eprintln!("serving on port {port}");
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || {
            if let Err(error) = serve(connection) {
                eprintln!("connection: {error}");
            }
        });
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(mut output: TcpStream) -> io::Result<()> {
    output.set_nodelay(true)?;
    let mut input = BufReader::new(output.try_clone()?);
    while let Some(head) = Head::read(&mut input)? {
        let after = respond(&head, &mut input, &mut output)?;
        let last = head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if last || matches!(after, After::Close) {
            break;
        }
    }
    // An idle connection that the client has ended is no failure.
    output.shutdown(Shutdown::Both).or(Ok(()))
}

enum After {
    Another,
    Close,
}

fn respond(head: &Head, input: &mut BufReader<TcpStream>, output: &mut TcpStream) -> io::Result<After> {
    let told = env::var("conform").ok().filter(|word| word != "serve");
    let mut words = head.path.split('/').skip(1);
    let word = match words.next() {
        Some("_") => "_",
        asked => told.as_deref().or(asked).unwrap_or_default(),
    };
    match word {
        "ws" => return websocket::echo(head, input, output).map(|()| After::Close),
        "upgrade" => return upgrade(input, output).map(|()| After::Close),
        "early" => return http::answer(output, 413, "too much\n").map(|()| After::Close),
        "garbage" => return output.write_all(b"\x00\xff this is not HTTP \r\n\r\n").map(|()| After::Close),
        "headers" => return headers(head, output).map(|()| After::Close),
        "cut" => return cut(output).map(|()| After::Close),
        "reset" => return Ok(After::Close),
        "silent" => loop {
            thread::park();
        },
        "_" | "hostname" | "status" | "wait" | "sse" => http::body(input, head.body()?, |_| Ok(()))?,
        _ => return echo(head, input, output).map(|()| After::Another),
    }
    match word {
        "hostname" => http::answer(output, 200, &(function::hostname()? + "\n"))?,
        "status" => http::answer(output, function::number(words.next().unwrap_or("200"))?, "as asked\n")?,
        "wait" => {
            thread::sleep(Duration::from_millis(head.number("ms", 100)));
            http::answer(output, 200, "waited\n")?;
        }
        "sse" => events(head, output)?,
        _ => http::answer(output, 200, "OK\n")?,
    }
    Ok(After::Another)
}

/// The head goes out before the body is read.
fn echo(head: &Head, input: &mut BufReader<TcpStream>, output: &mut TcpStream) -> io::Result<()> {
    let framing = head.body()?;
    let length = match framing {
        Framing::Length(length) => format!("content-length: {length}"),
        Framing::Chunked => "transfer-encoding: chunked".to_owned(),
    };
    let kind = head.header("content-type").unwrap_or("application/octet-stream");
    if head.header("expect").is_some() {
        output.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    write!(output, "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{length}\r\n\r\n")?;
    http::body(input, framing, |piece| match framing {
        Framing::Length(_) => output.write_all(piece),
        Framing::Chunked => http::chunk(output, piece),
    })?;
    if framing == Framing::Chunked { http::chunk(output, b"") } else { Ok(()) }
}

fn events(head: &Head, output: &mut TcpStream) -> io::Result<()> {
    output.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    for event in 0..head.number("events", 5) {
        http::chunk(output, format!("data: {event}\n\n").as_bytes())?;
        thread::sleep(Duration::from_millis(head.number("ms", 100)));
    }
    http::chunk(output, b"")
}

fn upgrade(input: &mut BufReader<TcpStream>, output: &mut TcpStream) -> io::Result<()> {
    output.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")?;
    io::copy(input, output).map(drop)
}

/// Goes on for as long as the client reads.
fn headers(head: &Head, output: &mut TcpStream) -> io::Result<()> {
    output.write_all(b"HTTP/1.1 200 OK\r\n")?;
    let line = format!("x-padding: {}\r\n", "x".repeat(1024 - 13));
    for _ in 0..head.number("kib", 100 << 10) {
        output.write_all(line.as_bytes())?;
    }
    output.write_all(b"content-length: 3\r\n\r\nOK\n")
}

fn cut(output: &mut TcpStream) -> io::Result<()> {
    output.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n10 bytes.\n")
}
