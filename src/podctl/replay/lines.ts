/** No request line of a log is as long as this, because a URL has at most 16 KB. */
const maxLineCharacters = 64 * 1024;

/** Yields a stream's lines, with one chunk in memory at a time. Yields null for a line that is too long, and does not keep its text. */
export async function* linesOf(chunks: AsyncIterable<string>): AsyncGenerator<string | null> {
  let rest = "";
  let tooLong = false;
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      yield tooLong || line.length > maxLineCharacters ? null : line;
      tooLong = false;
    }
    if (rest.length > maxLineCharacters) {
      rest = "";
      tooLong = true;
    }
  }
  if (tooLong) yield null;
  else if (rest !== "") yield rest;
}
