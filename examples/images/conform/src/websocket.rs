//! A WebSocket (RFC 6455) that echoes its messages.

use std::io::{self, BufReader, Error, Read, Write};
use std::net::TcpStream;

use crate::http::Head;

/// No message is longer.
const MESSAGE_BYTES: u64 = 16 << 20;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Shakes hands, then answers each frame with its like until the client closes.
pub(crate) fn echo(head: &Head, input: &mut BufReader<TcpStream>, output: &mut TcpStream) -> io::Result<()> {
    let key = head.header("sec-websocket-key").ok_or_else(|| Error::other("not a WebSocket"))?;
    let accept = base64(&sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()));
    write!(
        output,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    )?;
    loop {
        let (first, message) = frame(input)?;
        let first = if first & 15 == PING { first & 0xf0 | PONG } else { first };
        if first & 15 == PONG && message.is_empty() {
            continue;
        }
        send(output, first, &message)?;
        if first & 15 == CLOSE {
            return Ok(());
        }
    }
}

fn frame(input: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    input.read_exact(&mut start)?;
    let length = match start[1] & 127 {
        126 => u64::from(u16::from_be_bytes(bytes(input)?)),
        127 => u64::from_be_bytes(bytes(input)?),
        short => u64::from(short),
    };
    if length > MESSAGE_BYTES || start[1] < 128 {
        return Err(Error::other("a message that is too long, or not masked"));
    }
    let mask: [u8; 4] = bytes(input)?;
    let mut message = Vec::new();
    input.take(length).read_to_end(&mut message)?;
    for (byte, mask) in message.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((start[0], message))
}

fn bytes<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn send(output: &mut impl Write, first: u8, message: &[u8]) -> io::Result<()> {
    let mut frame = vec![first];
    match (u8::try_from(message.len()), u16::try_from(message.len())) {
        (Ok(length @ 0..126), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((message.len() as u64).to_be_bytes());
        }
    }
    frame.extend(message);
    output.write_all(&frame)
}

/// SHA-1 (RFC 3174), of which the handshake needs one.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.into_iter().enumerate() {
            let (mixed, constant) = match at {
                0..20 => (b & c | !b & d, 0x5a82_7999_u32),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (state, value) in state.iter_mut().zip([a, b, c, d, e]) {
            *state = state.wrapping_add(value);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number =
            group.iter().chain(&[0, 0]).take(3).fold(0, |number, byte| number << 8 | usize::from(*byte));
        for digit in 0..4 {
            let letter = char::from(LETTERS[number >> (18 - 6 * digit) & 63]);
            text.push(if digit <= group.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_key_of_the_rfc() {
        let key = b"dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        assert_eq!(base64(&sha1(key)), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(base64(&sha1(&[0; 200])).len(), 28);
    }

    #[test]
    fn reads_the_frames_that_clients_send() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let message = vec![7; length];
            let mut sent = Vec::new();
            send(&mut sent, 0x82, &message).unwrap();
            let start = sent.len() - length;
            sent[1] |= 128;
            sent.splice(start..start, [0; 4]);
            assert_eq!(frame(&mut sent.as_slice()).unwrap(), (0x82, message));
        }
    }
}
