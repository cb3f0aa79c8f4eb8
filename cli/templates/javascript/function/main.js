export function handle(body) {
  const name = body.trim();
  return `Hello, ${name || 'world'}!\n`;
}
