// All of the body before it is decoded: a character may lie across two chunks.
const chunks: ArrayBuffer[] = [];
const chunk = new ArrayBuffer(65536);
let size = 0;
while (true) {
  const length = process.stdin.read(chunk);
  if (length <= 0) break;
  chunks.push(chunk.slice(0, length));
  size += length;
}
const bytes = new Uint8Array(size);
for (let i = 0, at = 0; i < chunks.length; i++) {
  bytes.set(Uint8Array.wrap(chunks[i]), at);
  at += chunks[i].byteLength;
}
const name = String.UTF8.decode(bytes.buffer).trim();
const answer = String.UTF8.encode("Hello, " + (name.length > 0 ? name : "world") + "!\n");
// In parts: more than 64 KiB at once is cut off.
for (let at = 0; at < answer.byteLength; at += 65536) {
  process.stdout.write(answer.slice(at, at + 65536));
}
