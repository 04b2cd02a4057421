//! A load client with a fixed rate, for latency: every call has the moment at which it should leave, and its latency runs
//! from that moment, so that a slow answer cannot hide the wait of those behind it (no coordinated omission).
//!
//! `bench-load ADDRESS:PORT PATH RATE SECONDS [CA [FROM]]` speaks TLS where it is given the file of a CA, and comes from address FROM
//! where it is given one. It reads the header lines and, after an empty line, the body from standard
//! input, and prints `{"calls", "errors", "p50_ms", "p99_ms", "max_ms"}`. Anything but a 200 without a JSON-RPC error and
//! without the gateway's refusal header is an error.

mod wire;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use seams::{Clock, Monotonic, SystemClock};
use socket2::{Domain, Socket, Type};
use wire::{Encryption, Wire};

/// Connections, one thread each. At 1,000 calls per second each has 32 ms for a call before it delays its own next one.
const CONNECTIONS: u64 = 32;

struct Plan {
    address: SocketAddr,
    from: Option<IpAddr>,
    encryption: Option<Encryption>,
    request: Vec<u8>,
    interval: Duration,
    calls: u64,
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, rate, seconds, more @ ..] = words.as_slice() else {
        bail!("usage: bench-load ADDRESS:PORT PATH RATE SECONDS [CA [FROM]]")
    };
    let (rate, seconds): (u64, u64) = (rate.parse()?, seconds.parse()?);
    ensure!(rate > 0 && seconds > 0, "a rate and a duration of at least 1");
    let plan = Arc::new(Plan {
        address: address.parse()?,
        from: more.get(1).map(|from| from.parse()).transpose()?,
        encryption: more.first().map(|file| Encryption::trusting(file, address)).transpose()?,
        request: request(address, path)?,
        interval: Duration::from_nanos(1_000_000_000 / rate),
        calls: rate * seconds,
    });

    let clock = SystemClock;
    // Time to connect before the first call is due.
    let start = Monotonic::from_nanos(clock.monotonic().nanos() + 200_000_000);
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|first| {
            let (plan, clock) = (Arc::clone(&plan), clock);
            thread::spawn(move || connection(&plan, &clock, start, first))
        })
        .collect();
    let mut latencies = Vec::new();
    let mut errors = 0;
    for thread in threads {
        match thread.join() {
            Ok(Ok((mut own, failed))) => {
                latencies.append(&mut own);
                errors += failed;
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => bail!("a connection's thread panicked"),
        }
    }
    latencies.sort_unstable();
    let at =
        |share: f64| latencies.get(((latencies.len() as f64 - 1.0) * share) as usize).copied().unwrap_or(0);
    let ms = |nanos: u64| (nanos as f64 / 1e6 * 1e4).round() / 1e4;
    let summary = serde_json::json!({
        "calls": latencies.len(), "errors": errors,
        "p50_ms": ms(at(0.50)), "p99_ms": ms(at(0.99)), "max_ms": ms(at(1.0)),
    });
    writeln!(std::io::stdout(), "{summary}")?;
    Ok(())
}

/// The request's bytes: one and the same for every call.
fn request(address: &str, path: &str) -> anyhow::Result<Vec<u8>> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    let (headers, body) = input.split_once("\n\n").context("no empty line between headers and body")?;
    let body = body.trim_end_matches('\n');
    let mut text = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n", body.len());
    for header in headers.lines() {
        text.push_str(header);
        text.push_str("\r\n");
    }
    Ok([text.as_bytes(), b"\r\n", body.as_bytes()].concat())
}

/// Every `CONNECTIONS`-th call from `first` on. Returns latencies in nanoseconds and the number of failed calls.
fn connection(
    plan: &Plan,
    clock: &SystemClock,
    start: Monotonic,
    first: u64,
) -> anyhow::Result<(Vec<u64>, u64)> {
    let socket = Socket::new(Domain::for_address(plan.address), Type::STREAM, None)?;
    if let Some(from) = plan.from {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    socket.connect(&plan.address.into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let stream = match &plan.encryption {
        Some(encryption) => encryption.handshake(stream)?,
        None => Wire::Plain(stream),
    };
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    let (mut latencies, mut errors) = (Vec::new(), 0);
    let mut body = Vec::new();
    for call in (first..plan.calls).step_by(CONNECTIONS as usize) {
        let due = Monotonic::from_nanos(start.nanos() + plan.interval.as_nanos() as u64 * call);
        thread::sleep(due.since(clock.monotonic()));
        reader.get_mut().write_all(&plan.request)?;
        reader.get_mut().flush()?;
        let fine = response(&mut reader, &mut body)?;
        latencies.push(clock.monotonic().since(due).as_nanos() as u64);
        errors += u64::from(!fine);
    }
    Ok((latencies, errors))
}

/// Reads one response into `body`; whether it is the result that was asked for.
fn response(reader: &mut BufReader<Wire>, body: &mut Vec<u8>) -> anyhow::Result<bool> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut fine = line.split(' ').nth(1) == Some("200");
    let (mut length, mut chunked) = (0, false);
    loop {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "the connection ended within a response");
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse()?,
            "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
            "portcullis-refusal" => fine = false,
            _ => {}
        }
    }
    body.clear();
    if chunked {
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim_end(), 16).context("not a chunk size")?;
            let from = body.len();
            // The chunk and the line end after it.
            body.resize(from + size + 2, 0);
            reader.read_exact(&mut body[from..])?;
            body.truncate(from + size);
            if size == 0 {
                break;
            }
        }
    } else {
        body.resize(length, 0);
        reader.read_exact(body)?;
    }
    let has = |word: &[u8]| body.windows(word.len()).any(|window| window == word);
    Ok(fine && has(br#""result""#) && !has(br#""error""#))
}
