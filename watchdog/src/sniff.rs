//! The type of content that nobody named, by its first bytes, as Go's server would guess it.

/// First bytes and the type they mean. `?` in a pattern is any byte.
const SIGNATURES: [(&[u8], &str); 24] = [
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\xFE\xFF", "text/plain; charset=utf-16be"),
    (b"\xFF\xFE", "text/plain; charset=utf-16le"),
    (b"\xEF\xBB\xBF", "text/plain; charset=utf-8"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x89PNG\r\n\x1A\n", "image/png"),
    (b"\xFF\xD8\xFF", "image/jpeg"),
    (b"BM", "image/bmp"),
    (b"RIFF????WEBPVP", "image/webp"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"RIFF????WAVE", "audio/wave"),
    (b"ID3", "audio/mpeg"),
    (b"OggS\x00", "application/ogg"),
    (b"????ftyp", "video/mp4"),
    (b"\x1A\x45\xDF\xA3", "video/webm"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"\x1F\x8B\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"Rar!\x1A\x07", "application/x-rar-compressed"),
    (b"\x00asm", "application/wasm"),
    (b"RIFF????AVI ", "video/avi"),
];

/// Beginnings of HTML, after white space, in any case, before a space or `>`.
const HTML: [&str; 17] = [
    "<!DOCTYPE HTML",
    "<HTML",
    "<HEAD",
    "<SCRIPT",
    "<IFRAME",
    "<H1",
    "<DIV",
    "<FONT",
    "<TABLE",
    "<A",
    "<STYLE",
    "<TITLE",
    "<B",
    "<BODY",
    "<BR",
    "<P",
    "<!--",
];

/// How much of the content counts.
const SNIFFED_BYTES: usize = 512;

/// The type of content that begins with `bytes`.
pub(crate) fn sniff(bytes: &[u8]) -> &'static str {
    let bytes = &bytes[..bytes.len().min(SNIFFED_BYTES)];
    let text = bytes.trim_ascii_start();
    if HTML.iter().any(|tag| begins_with_tag(text, tag)) {
        return "text/html; charset=utf-8";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    if let Some((_, mime)) = SIGNATURES.iter().find(|(pattern, _)| matches_pattern(bytes, pattern)) {
        return mime;
    }
    let binary = |byte: &u8| matches!(byte, 0..=8 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F);
    if bytes.iter().any(binary) { "application/octet-stream" } else { "text/plain; charset=utf-8" }
}

fn matches_pattern(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.len() >= pattern.len()
        && pattern.iter().zip(bytes).all(|(want, byte)| *want == b'?' || want == byte)
}

fn begins_with_tag(text: &[u8], tag: &str) -> bool {
    let Some((start, rest)) = text.split_at_checked(tag.len()) else { return false };
    start.eq_ignore_ascii_case(tag.as_bytes()) && (tag == "<!--" || matches!(rest.first(), Some(b' ' | b'>')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_like_gos_server() {
        for (bytes, mime) in [
            (&b""[..], "text/plain; charset=utf-8"),
            (b"{\"a\":1}", "text/plain; charset=utf-8"),
            (b"  <html>", "text/html; charset=utf-8"),
            (b"<!doctype html >", "text/html; charset=utf-8"),
            (b"<article>", "text/plain; charset=utf-8"),
            (b"<?xml version", "text/xml; charset=utf-8"),
            (b"\x89PNG\r\n\x1a\nrest", "image/png"),
            (b"RIFF\x01\x02\x03\x04WEBPVP8", "image/webp"),
            (b"\x00\x01\x02\x03", "application/octet-stream"),
        ] {
            assert_eq!(sniff(bytes), mime, "{bytes:?}");
        }
    }
}
