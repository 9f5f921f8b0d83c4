/** Runs a stack in a process of its own, so that a test can limit how many files this process may open. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startStack } from "../../src/local/stack.ts";
import { kvApiNames, kvApiPath } from "../../src/local/stack-files.ts";

const dir = await mkdtemp(join(tmpdir(), "registry-edge-kv-api-"));
const stack = await startStack({ edgePort: 0, stateDir: join(dir, "state"), seedImages: false });
try {
  const { account, namespace } = kvApiNames;
  const api = `${stack.control}${kvApiPath}/accounts/${account}/storage/kv/namespaces/${namespace}`;
  const call = async (method: string, path: string, body?: unknown) => {
    const answer = await fetch(api + path, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const { result, errors } = (await answer.json()) as { result: unknown; errors: unknown };
    console.log(`${method} ${path} ${answer.status} ${JSON.stringify(result ?? errors)}`);
  };
  const keys = Array.from({ length: 1_000 }, (_, index) => `many/group-${index}`);
  await call(
    "PUT",
    "/bulk",
    keys.map((key) => ({ key, value: key.slice(-4) })),
  );
  await call("POST", "/bulk/get", { keys: [keys[7], keys.at(-1), "many/none"] });
  await call("POST", "/bulk/delete", keys);
  await call("GET", "/keys?prefix=many/");
} finally {
  await stack.stop();
  await rm(dir, { recursive: true });
}
