// The function: text in, what it is made of out. Everything outside of `handle` runs once when the module
// is pre-initialised, and at the start of every request when it is not.

const common = new Set('a an and are as at be but by for from in is it not of on or that the this to was with'.split(' '));
const word = /[\p{L}\p{N}]+/gu;

globalThis.handle = (text) => {
  const counts = new Map();
  let words = 0;
  for (const [found] of text.matchAll(word)) {
    words += 1;
    const key = found.toLowerCase();
    if (!common.has(key)) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const most = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).slice(0, 3);
  const lines = text.split('\n').length - 1;
  return JSON.stringify({ lines, words, characters: [...text].length, most: Object.fromEntries(most) }) + '\n';
};
