/** The stack's remote control: what taps and edge have seen, and the faults of each tap. */
import type http from "node:http";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import { type ApiKv, createKvApi } from "../workerd/kv-api.ts";
import type { EdgeLog } from "../workerd/log.ts";
import { parseFault } from "./fault.ts";
import type { Tap } from "./tap.ts";

type ControlOptions = {
  readonly tapOf: (pod: string, service: string) => Tap | null;
  readonly log: EdgeLog;
  /** The directory's namespace. */
  readonly kv: Promise<ApiKv>;
};

/** Where Cloudflare's API would have the directory's namespace, below the control server's own address. */
export const kvApiPath = "/client/v4";
export const kvApiNames = { account: "local", namespace: "DIRECTORY" } as const;

export function createControl({ tapOf, log, kv }: ControlOptions): http.RequestListener {
  const app = new Hono();
  app.get("/edge/-/seen", async (c) => {
    await log.settled();
    return c.json(log.list());
  });
  app.delete("/edge/-/seen", async (c) => {
    await log.settled();
    log.clear();
    return c.body(null, 204);
  });
  app.get("/kv", async (c) => {
    await log.settled();
    return c.json({ reads: log.kvReads() });
  });
  const { account, namespace } = kvApiNames;
  app.route(`${kvApiPath}/accounts/${account}/storage/kv/namespaces/${namespace}`, createKvApi(kv));
  app.get("/:pod/:service/-/seen", (c) => {
    const tap = tapOf(c.req.param("pod"), c.req.param("service"));
    return tap === null ? c.text(unknownTap, 404) : c.json(tap.seen());
  });
  app.delete("/:pod/:service/-/seen", (c) => {
    const tap = tapOf(c.req.param("pod"), c.req.param("service"));
    if (tap === null) return c.text(unknownTap, 404);
    tap.clearSeen();
    return c.body(null, 204);
  });
  app.put("/faults/:pod/:service", async (c) => {
    const tap = tapOf(c.req.param("pod"), c.req.param("service"));
    if (tap === null) return c.text(unknownTap, 404);
    const fault = parseFault(await c.req.text());
    if (!fault.ok) return c.text(`${fault.error}\n`, 400);
    await tap.setFault(fault.value);
    return c.body(null, 204);
  });
  app.notFound((c) =>
    c.text("Not found: want /<pod>/<service>/-/seen, /edge/-/seen, /kv or /faults/<pod>/<service>.\n", 404),
  );
  const listener = getRequestListener(app.fetch);
  return (request, response) => void listener(request, response);
}

const unknownTap = "Unknown: the Pods are pod-a and pod-b, their services registry, token and storage.\n";
