/** The stack's KV API in a process of its own, so that a test can limit it. It writes a bulk of keys, reads some and deletes all. */
import { type ApiKv, createKvApi } from "../../src/local/workerd/kv-api.ts";
import { startKv } from "./isolate.ts";

const { kv, stop } = await startKv();
try {
  const api = createKvApi(Promise.resolve(kv as unknown as ApiKv));
  const call = async (method: string, path: string, body?: unknown) => {
    const answer = await api.request(path, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const { result, errors } = (await answer.json()) as { result: unknown; errors: unknown };
    console.log(`${method} ${path} ${answer.status} ${JSON.stringify(result ?? errors)}`);
  };
  const keys = Array.from({ length: 1_000 }, (_, index) => `route/group-${index}`);
  await call(
    "PUT",
    "/bulk",
    keys.map((key) => ({ key, value: key.slice(-4) })),
  );
  await call("POST", "/bulk/get", { keys: [keys[7], keys.at(-1), "route/none"] });
  await call("POST", "/bulk/delete", keys);
  await call("GET", "/keys");
} finally {
  await stop();
}
