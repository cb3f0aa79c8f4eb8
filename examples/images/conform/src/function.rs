//! The functions: one request, from stdin to stdout.

use std::any::type_name;
use std::io::{self, Error, Read, Write};
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

/// Does what the words say; see the table in `main.rs`.
pub(crate) fn run(words: &[&str]) -> io::Result<ExitCode> {
    match words {
        ["echo"] => echo()?,
        ["word", words @ ..] => say(&words.join(" "))?,
        ["exit"] => return Ok(ExitCode::from(3)),
        ["exit", code] => return Ok(ExitCode::from(number::<u8>(code)?)),
        ["hang"] => loop {
            thread::park();
        },
        ["log"] => log("a line for the log")?,
        ["log", words @ ..] => log(&words.join(" "))?,
        ["hostname"] => say(&hostname()?)?,
        ["env"] => environment()?,
        ["env", name] => say(&env::var(name).unwrap_or_default())?,
        ["read", path] => io::stdout().write_all(&fs::read(path)?)?,
        ["write", path] => write(path)?,
        ["drip", lines] => drip(number(lines)?, 100)?,
        ["drip", lines, milliseconds] => drip(number(lines)?, number(milliseconds)?)?,
        ["spin", milliseconds] => spin(Duration::from_millis(number(milliseconds)?))?,
        ["allocate", mebibytes] => allocate(number(mebibytes)?)?,
        words => return Err(Error::other(format!("unknown function {words:?}"))),
    }
    Ok(ExitCode::SUCCESS)
}

/// A number of the kind that is asked for, or an error with the text in it.
pub(crate) fn number<N: FromStr>(text: &str) -> io::Result<N> {
    text.parse().map_err(|_| Error::other(format!("{text:?} is not of type {}", type_name::<N>())))
}

/// Which container this is.
pub(crate) fn hostname() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim_end().to_owned())
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

fn echo() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut buffer = [0; 32 << 10];
    loop {
        let length = input.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        output.write_all(&buffer[..length])?;
        output.flush()?;
    }
}

fn log(line: &str) -> io::Result<()> {
    eprintln!("{line}");
    echo()
}

fn environment() -> io::Result<()> {
    let mut variables: Vec<_> = env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    variables.sort_unstable();
    say(&variables.join("\n"))
}

fn write(path: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    fs::write(path, &bytes)?;
    say(&format!("{} bytes", bytes.len()))
}

fn drip(lines: u64, milliseconds: u64) -> io::Result<()> {
    for line in 0..lines {
        say(&format!("line {line}"))?;
        io::stdout().flush()?;
        thread::sleep(Duration::from_millis(milliseconds));
    }
    Ok(())
}

fn spin(time: Duration) -> io::Result<()> {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
    say(&format!("{time:?}"))
}

fn allocate(mebibytes: usize) -> io::Result<()> {
    let memory = vec![1_u8; mebibytes << 20];
    let touched: usize = memory.iter().step_by(4096).map(|byte| usize::from(*byte)).sum();
    say(&format!("{} MiB", (touched * 4096) >> 20))
}
