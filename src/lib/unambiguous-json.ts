/**
 * JSON that all parsers read alike: null for what is no JSON, or names a member twice. Which of the two counts differs between
 * parsers, so a document could tell one thing to who checks it and another to who trusts the check.
 */
export function parseUnambiguousJson(bytes: Uint8Array): { readonly value: unknown } | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const value: unknown = JSON.parse(text);
    return namesIn(text) === membersOf(value) ? { value } : null;
  } catch {
    return null;
  }
}

/** Of a valid text: strings before a colon. */
function namesIn(text: string): number {
  let names = 0;
  for (let start = text.indexOf('"'); start >= 0; ) {
    let end = start + 1;
    while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
    let after = end + 1;
    while (/[ \t\n\r]/.test(text.charAt(after))) after += 1;
    if (text[after] === ":") names += 1;
    start = text.indexOf('"', after);
  }
  return names;
}

function membersOf(root: unknown): number {
  let members = 0;
  const open = [root];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value !== "object" || value === null) continue;
    const inside = Object.values(value);
    if (!Array.isArray(value)) members += inside.length;
    for (const each of inside) open.push(each);
  }
  return members;
}
