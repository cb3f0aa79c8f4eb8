// Reads the body, calls `handle`, writes what it answers. The engine has no TextDecoder.
// The function's file is put before this one: what is named here must not be a name there.
import { getStdin as brambleStdin } from 'wasi:cli/stdin@0.2.0';
import { getStdout as brambleStdout } from 'wasi:cli/stdout@0.2.0';

const brambleRun = (() => {
  const PART = 4096;

  function decode(bytes) {
    let text = '';
    for (let at = 0; at < bytes.length; at += PART) {
      text += String.fromCharCode.apply(null, bytes.subarray(at, at + PART));
    }
    return decodeURIComponent(escape(text));
  }

  function encode(text) {
    const binary = unescape(encodeURIComponent(text));
    const bytes = new Uint8Array(binary.length);
    for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
    return bytes;
  }

  function body() {
    const stdin = brambleStdin();
    const chunks = [];
    let length = 0;
    while (true) {
      let chunk;
      try {
        chunk = stdin.blockingRead(65536);
      } catch (closed) {
        break;
      }
      if (chunk.length === 0) break;
      chunks.push(chunk);
      length += chunk.length;
    }
    const all = new Uint8Array(length);
    let at = 0;
    for (const chunk of chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return decode(all);
  }

  return {
    run() {
      const bytes = encode(String(handle(body())));
      const stdout = brambleStdout();
      for (let at = 0; at < bytes.length; at += PART) {
        stdout.blockingWriteAndFlush(bytes.subarray(at, at + PART));
      }
    },
  };
})();

export { brambleRun as run };
