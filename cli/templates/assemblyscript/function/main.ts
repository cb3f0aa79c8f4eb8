const chunk = new ArrayBuffer(65536);
let body = "";
while (true) {
  const length = process.stdin.read(chunk);
  if (length <= 0) break;
  body += String.UTF8.decode(chunk.slice(0, length));
}
const name = body.trim();
process.stdout.write("Hello, " + (name.length > 0 ? name : "world") + "!\n");
