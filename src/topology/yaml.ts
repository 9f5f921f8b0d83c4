/** Parses YAML to plain values, and finds the position of each value. Aliases, duplicate names and tags other than YAML's own are mistakes. Pure. */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLParseError,
} from "yaml";
import { err, ok, type Result } from "../lib/result.ts";
import { type Mistake, type Path, type Position, quote } from "./mistake.ts";

export type Yaml = {
  readonly value: unknown;
  /** Returns the names in the top-level mapping `name`, in the order of the file. In `value`, JavaScript puts names that are numbers first. */
  readonly namesIn: (name: string) => readonly string[];
  /** Returns the position of the member at this path, or else that of the nearest part of the path that exists. */
  readonly locate: (path: Path, at: Mistake["at"]) => Position;
};
export type YamlMistake = Position & { readonly text: string };

export function parseYaml(text: string): Result<Yaml, readonly YamlMistake[]> {
  const lines = new LineCounter();
  const positionAt = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const document = parseDocument(text, {
    lineCounter: lines,
    // With pretty errors, the parser's messages would quote the line, which may contain a secret.
    prettyErrors: false,
    // The parser would compare every pair of names to find duplicates. `plainOf` finds them by one look-up for each name.
    uniqueKeys: false,
    stringKeys: true,
    // With "silent" the parser would ignore a second document.
    logLevel: "error",
  });
  const [error] = document.errors;
  if (error !== undefined) return err([{ ...positionAt(error.pos[0]), text: wordsOf(error) }]);
  const mistakes: YamlMistake[] = [];
  const value = plainOf(document.contents, (node, text) => {
    mistakes.push({ ...positionAt(node?.range?.[0] ?? 0), text });
  });
  if (mistakes.length > 0) return err(mistakes);
  const namesIn = (name: string) => {
    const mapping = document.get(name);
    return isMap(mapping) ? mapping.items.map(nameOf) : [];
  };
  return ok({ value, namesIn, locate: (path, at) => positionAt(offsetOf(document.contents, path, at)) });
}

const unsupportedTag = "a tag is not supported; want a plain value";
const unsupportedAlias = "an alias is not supported; write the value out";

/** Our words for errors whose own message does not say what to change, or quotes the file in a way that `wordsOf` cannot cut off. */
const ownWords: Readonly<Partial<Record<YAMLParseError["code"], string>>> = {
  BAD_ALIAS: unsupportedAlias,
  BAD_DIRECTIVE: "not YAML: a directive is wrong",
  BAD_DQ_ESCAPE: "not YAML: an escape sequence in double quotes is wrong",
  MULTIPLE_DOCS: "a second YAML document begins here; want one in a file",
  TAG_RESOLVE_FAILED: unsupportedTag,
};

/** A message without an entry in `ownWords` quotes the file only after a colon. We cut it there, because the quoted text may be a secret. */
const wordsOf = ({ code, message }: YAMLParseError): string =>
  ownWords[code] ?? `not YAML: ${message.replace(/(?<=\S):.*/s, "")}`;

type Complain = (node: Node | null, text: string) => void;

/** A mapping becomes an object without a prototype, so that `constructor` is a name like any other. */
function plainOf(node: unknown, complain: Complain): unknown {
  if (isScalar(node)) {
    if (node.tag === undefined || isCoreTag(node.tag)) return node.value;
    complain(node, unsupportedTag);
  } else if (isSeq(node)) return node.items.map((item) => plainOf(item, complain));
  else if (isMap(node)) {
    const entries: Record<string, unknown> = Object.create(null);
    for (const pair of node.items) {
      const name = nameOf(pair);
      if (name in entries) complain(pair.key as Node, `duplicate ${quote(name, [])}; remove one of the two`);
      entries[name] = plainOf(pair.value, complain);
    }
    return entries;
  } else if (isAlias(node)) complain(node, unsupportedAlias);
  return null;
}

const isCoreTag = (tag: string): boolean => tag.startsWith("tag:yaml.org,2002:");
const nameOf = (pair: Pair): string => String(isScalar(pair.key) ? pair.key.value : pair.key);

function offsetOf(root: unknown, path: Path, at: Mistake["at"]): number {
  let node = root;
  let offset = startOf(root);
  for (const [index, key] of path.entries()) {
    const wantsName = at === "name" && index === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find((item) => nameOf(item) === key);
      if (pair === undefined) return offset;
      node = pair.value;
      offset = wantsName || startOf(node) === 0 ? startOf(pair.key) : startOf(node);
    } else if (isSeq(node) && typeof key === "number") {
      node = node.items[key];
      offset = startOf(node) || offset;
    } else return offset;
  }
  return offset;
}

const startOf = (node: unknown): number => (node as Node | null | undefined)?.range?.[0] ?? 0;
