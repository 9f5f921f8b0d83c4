import { err, ok, type Result } from "../lib/result.ts";
import type { YamlMistake } from "./yaml.ts";

/** Name to text, as they stand in the file. */
export type Placeholders = Readonly<Record<string, string>>;

/** `${NAME}` filled in; null says that the file must hold the values themselves. */
export function fillPlaceholders(text: string, values: Placeholders | null): Result<string, readonly YamlMistake[]> {
  const mistakes: YamlMistake[] = [];
  const filled = text.replace(/\$\{([A-Z0-9_]+)\}/g, (placeholder, name: string, offset: number) => {
    const value = values?.[name];
    if (value === undefined) mistakes.push({ ...positionAt(text, offset), text: unfilled(placeholder, values) });
    return value ?? placeholder;
  });
  return mistakes.length === 0 ? ok(filled) : err(mistakes);
}

const unfilled = (placeholder: string, values: Placeholders | null): string =>
  values === null
    ? `"${placeholder}" is a placeholder, which only the local stack fills; want the value itself`
    : `"${placeholder}" is a placeholder without a value; want one of the running stack's`;

function positionAt(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset).split("\n");
  return { line: before.length, column: (before.at(-1) ?? "").length + 1 };
}
