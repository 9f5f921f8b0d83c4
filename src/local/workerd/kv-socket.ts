/**
 * Calls the Worker of `kv-worker.ts` over HTTP. Miniflare's own way to a namespace starts a thread and loads an HTTP client for
 * each workerd, which takes more CPU time than workerd itself takes to start.
 */
import type { ApiKv } from "./kv-api.ts";
import type { KvFault } from "./kv-faults.ts";

/** What the Worker shall do: the JSON body of a request. The answer has the result as JSON, or status 500 and the error's message. */
export type KvCommand =
  | { readonly do: "fault"; readonly fault: KvFault }
  | { readonly do: "list"; readonly options: Parameters<ApiKv["list"]>[0] }
  | { readonly do: "get" | "delete"; readonly key: string }
  | { readonly do: "put"; readonly key: string; readonly value: string; readonly options: { metadata?: unknown } };

export type KvSocket = ApiKv & {
  /** Resolves when the fault is in force. */
  setFault(fault: KvFault): Promise<void>;
};

export function openKv(url: URL): KvSocket {
  const run = async (command: KvCommand): Promise<unknown> => {
    const answer = await fetch(url, { method: "POST", body: JSON.stringify(command) });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  };
  return {
    setFault: async (fault) => void (await run({ do: "fault", fault })),
    list: (options) => run({ do: "list", options }) as ReturnType<ApiKv["list"]>,
    get: (key) => run({ do: "get", key }) as ReturnType<ApiKv["get"]>,
    put: async (key, value, options) => void (await run({ do: "put", key, value, options })),
    delete: async (key) => void (await run({ do: "delete", key })),
  };
}
