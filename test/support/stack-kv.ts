import type { Stack } from "../../src/local/stack.ts";
import { kvApiNames, kvApiPath } from "../../src/local/workerd/kv-api.ts";

/** What stands in a stack's KV, as the API that podctl uses gives it. */
export async function readStackKv(
  { control }: Stack,
  keys: readonly string[],
): Promise<ReadonlyMap<string, string | null>> {
  const { account, namespace } = kvApiNames;
  const url = `${control}${kvApiPath}/accounts/${account}/storage/kv/namespaces/${namespace}/bulk/get`;
  const body = JSON.stringify({ keys, type: "text" });
  const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const { result } = (await answer.json()) as { result: { values: Record<string, string | null> } };
  return new Map(Object.entries(result.values));
}
