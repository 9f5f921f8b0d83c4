import { globSync, readFileSync } from "node:fs";
import { afterEach, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { formatSteps } from "../../src/podctl/explain/step.ts";
import { CliFailure, describeError } from "../../src/podctl/failure.ts";
import { counted, note, print, printJson, startProgress } from "../../src/podctl/output.ts";
import { formatTopology } from "../../src/topology/export.ts";

const { isTTY } = process.stderr;
afterEach(() => {
  vi.restoreAllMocks();
  process.stderr.isTTY = isTTY;
});

function drawn(steps: readonly number[], total: number | null, after: () => void = () => {}): string {
  const written = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const clock = vi.spyOn(performance, "now").mockReturnValue(0);
  process.stderr.isTTY = true;
  const progress = startProgress("keys", total);
  for (const [index, step] of steps.entries()) {
    clock.mockReturnValue((index + 1) * 1_000);
    progress.advance(step);
  }
  after();
  progress.end();
  return written.mock.calls.map(([text]) => String(text)).join("");
}

const signals = () => ["SIGINT", "SIGTERM"].map((name) => process.listenerCount(name));

test("progress: a bar stays on its line, says rate and seconds left, and is removed at the end", () => {
  expect(drawn([10, 10, 10], 40)).toBe(
    `\r\u001b[K${"━".repeat(15)}${"─".repeat(15)} keys: 20 of 40, 10/s, 2 s left` +
      `\r\u001b[K${"━".repeat(22)}${"─".repeat(8)} keys: 30 of 40, 10/s, 1 s left\r\u001b[K`,
  );
});

test("progress: short work shows nothing", () => expect(drawn([10], 40)).toBe(""));

test("progress: a bar that is past its total does not say how long it will take", () =>
  expect(drawn([0, 50], 40)).toBe(`\r\u001b[K${"━".repeat(30)} keys: 50, 25/s\r\u001b[K`));

test("progress: a line on standard error takes the place of the bar", () =>
  expect(drawn([0, 20], 40, () => note("podctl: no"))).toContain(" left\r\u001b[Kpodctl: no\n"));

test("progress: while a bar is drawn, Ctrl-C and kill still end the command and no key is taken", () => {
  const before = [...signals(), process.stdin.listenerCount("keypress")];
  let during: readonly number[] = [];
  drawn([10, 10], 40, () => {
    during = [...signals(), process.stdin.listenerCount("keypress")];
  });
  expect(during).toEqual(before);
});

/** These characters reorder the text of a line, break a line, or are not visible at all. */
const invisible = [
  0xad, 0x61c, 0x180e, 0x200b, 0x200f, 0x2028, 0x2029, 0x202e, 0x2066, 0x2069, 0xfeff, 0x3164, 0xe0041,
];
/** Each control character or invisible character is in three texts, because JSON and YAML quote these differently. */
const unsafeTexts = [
  ...Array.from({ length: 0x20 }, (_, code) => code),
  ...Array.from({ length: 0x21 }, (_, n) => 0x7f + n),
  ...invisible,
]
  .map((code) => String.fromCodePoint(code))
  .flatMap((each) => [each, `a${each}b`, `a\nb${each}c\n`]);

function printed(run: () => void): string {
  const written = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  run();
  const texts = written.mock.calls.map(([text]) => String(text));
  written.mockRestore();
  return texts.join("");
}

const unsafe = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u3164]/u;

test("output: control characters of foreign text never reach the terminal", () => {
  const clearAndCopy = "\u001b[2J\u001b]52;c;c2VjcmV0\u0007 \u009b1A \u007f\r";
  expect(printed(() => print(`issuer ${clearAndCopy}`))).toBe(
    "issuer \\u001b[2J\\u001b]52;c;c2VjcmV0\\u0007 \\u009b1A \\u007f\\u000d\n",
  );
  const written = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  process.stderr.isTTY = false;
  note(`podctl: ${clearAndCopy}`);
  expect(String(written.mock.calls[0])).not.toMatch(unsafe);
});

test("output: a line break in a token's claim does not begin a line of explain", () => {
  const steps = [{ step: "token", result: "bundle\nanswer  200", lines: ["pod-a: grants x\nanswer  200"] }];
  expect(formatSteps(steps)).toBe("token  bundle\\u000aanswer  200\n         pod-a: grants x\\u000aanswer  200");
});

test("output: a mark that a reader cannot see is shown, so that no text reads as another one", () => {
  const [name, tag] = ["acme/\u202egpj.exe\u200b", String.fromCodePoint(0xe0041)];
  expect(printed(() => print(`${name} ${tag}`))).toBe("acme/\\u202egpj.exe\\u200b \\udb40\\udc41\n");
  expect(formatSteps([{ step: "token", result: name, lines: [] }])).toBe("token  acme/\\u202egpj.exe\\u200b");
});

test("output: escaped characters leave JSON and YAML with the same meaning", () => {
  for (const text of unsafeTexts) {
    const members = { text, end: true };
    const [json, yaml] = [printed(() => printJson({ text })), printed(() => print(formatTopology(members)))];
    expect([json, yaml].join("")).not.toMatch(unsafe);
    expect([JSON.parse(json), parse(yaml)]).toEqual([{ text }, { text, end: true }]);
  }
});

test("output: an error that no code expects is told by its place, and its message is not shown", () => {
  const thrown = (run: () => unknown): unknown => {
    try {
      return run();
    } catch (error) {
      return error;
    }
  };
  const bug = describeError(thrown(() => new Headers({ Authorization: "Bearer HUSH\nat /src/HUSH.ts:1:1" })));
  expect(bug).toMatch(/^a bug in podctl: TypeError at an unknown place; report it with /);
  const ours = describeError(
    thrown(() => formatTopology(Object.defineProperty({}, "HUSH", { get: throwHush, enumerable: true }))),
  );
  expect(ours).toMatch(/^a bug in podctl: Error at src\/topology\/export\.ts:\d+; /);
  expect(describeError(thrown(() => readFileSync("absent.yaml")))).toMatch(/^ENOENT: .*absent\.yaml/);
  expect(describeError(new CliFailure("no Pod; add one"))).toBe("no Pod; add one");
});

function throwHush(): never {
  throw new Error("HUSH");
}

test("output: a number has its noun in the right form", () => {
  const nouns = ["key", "repository", "tagged repository"];
  expect(nouns.map((noun) => counted(1, noun))).toEqual(["1 key", "1 repository", "1 tagged repository"]);
  expect(nouns.map((noun) => counted(2_000, noun))).toEqual([
    "2,000 keys",
    "2,000 repositories",
    "2,000 tagged repositories",
  ]);
});

test("output: only output.ts writes to the terminal", () => {
  const writes = /process\.(stdout|stderr)\.write|\bconsole\./;
  const writers = globSync("src/podctl/**/*.ts").filter((path) => writes.test(readFileSync(path, "utf8")));
  expect(writers).toEqual(["src/podctl/output.ts"]);
});
