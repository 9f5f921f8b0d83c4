/** A URL has at most 16 KB, so a request line of a log is never as long as this. */
const maxLineCharacters = 64 * 1024;

/** Yields the lines of a stream, with one chunk in memory at a time. For a line that is too long, yields null and does not keep the text. */
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
