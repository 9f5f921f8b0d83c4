import { err, ok, type Result } from "../lib/result.ts";
import type { YamlMistake } from "./yaml.ts";

/** The text that replaces each placeholder, by the placeholder's name. */
export type Placeholders = Readonly<Record<string, string>>;

/** Replaces each `${NAME}`. `values` is null if the file must not have placeholders, and empty if no local stack is running. */
export function fillPlaceholders(text: string, values: Placeholders | null): Result<string, readonly YamlMistake[]> {
  const mistakes: YamlMistake[] = [];
  const filled = text.replace(/\$\{([A-Z0-9_]+)\}/g, (placeholder, name: string, offset: number) => {
    const value = values?.[name];
    if (value === undefined) mistakes.push({ ...positionAt(text, offset), text: unfilled(values) });
    return value ?? placeholder;
  });
  if (mistakes.length === 0) return ok(filled);
  return err(Object.keys(values ?? {}).length === 0 ? mistakes.slice(0, 1) : mistakes);
}

/** The message does not quote the placeholder, because a secret may look like one. */
function unfilled(values: Placeholders | null): string {
  const what = "this is a placeholder";
  if (values === null) return `${what}, which only the local stack fills; want the value itself`;
  if (Object.keys(values).length === 0)
    return `${what} for a value of the running stack, but no stack is running; start one by \`npm start\``;
  return `${what} for which the running stack has no value; want one of ${Object.keys(values).join(", ")}`;
}

function positionAt(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset).split("\n");
  return { line: before.length, column: (before.at(-1) ?? "").length + 1 };
}
