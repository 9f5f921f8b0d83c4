/** The control server of the stack. It lists the requests that came to the edge and to the Pods' services, sets faults, and serves KV to podctl. */
import type http from "node:http";
import { getRequestListener } from "@hono/node-server";
import { type Context, Hono } from "hono";
import type { Result } from "../lib/result.ts";
import { kvApiNames, kvApiPath } from "./stack-files.ts";
import { parseFault } from "./taps/faults.ts";
import type { Tap } from "./taps/tap.ts";
import type { EdgeLog } from "./workerd/edge-log.ts";
import { type ApiKv, createKvApi } from "./workerd/kv-api.ts";
import { type KvFault, parseKvFault } from "./workerd/kv-faults.ts";

type ControlOptions = {
  readonly tapOf: (pod: string, service: string) => Tap | null;
  readonly log: EdgeLog;
  /** Resolves when workerd runs. */
  readonly kv: Promise<ApiKv>;
  readonly setKvFault: (fault: KvFault) => Promise<void>;
  readonly runCron: () => Promise<void>;
};

export function createControlServer({ tapOf, log, kv, ...edge }: ControlOptions): http.RequestListener {
  const app = new Hono();
  addEdge(app, log);
  addTaps(app, tapOf);
  app.put("/faults/kv", (c) => putFault(c, parseKvFault, edge.setKvFault));
  // Cloudflare runs a Worker's cron trigger by itself. In the local stack, this request runs it.
  app.post("/cron", async (c) => {
    await edge.runCron();
    return c.body(null, 204);
  });
  const { account, namespace } = kvApiNames;
  app.route(`${kvApiPath}/accounts/${account}/storage/kv/namespaces/${namespace}`, createKvApi(kv));
  app.notFound((c) =>
    c.text(
      `No "${c.req.path}". There are /<pod>/<service>/-/seen, /edge/-/seen, /kv, /cron, /faults/<pod>/<service> and /faults/kv.\n`,
      404,
    ),
  );
  const listener = getRequestListener(app.fetch);
  return (request, response) => void listener(request, response);
}

function addEdge(app: Hono, log: EdgeLog): void {
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
}

function addTaps(app: Hono, tapOf: ControlOptions["tapOf"]): void {
  const onTap = (act: (tap: Tap, c: Context) => Response | Promise<Response>) => (c: Context) => {
    const { pod = "", service = "" } = c.req.param();
    const tap = tapOf(pod, service);
    if (tap !== null) return act(tap, c);
    const known =
      "the Pods are pod-a and pod-b, and their services are registry, token and storage, and gateway with --gateways";
    return c.text(`No tap "${pod}/${service}": ${known}.\n`, 404);
  };
  app.get(
    "/:pod/:service/-/seen",
    onTap((tap, c) => c.json(tap.seen())),
  );
  app.delete(
    "/:pod/:service/-/seen",
    onTap((tap, c) => {
      tap.clearSeen();
      return c.body(null, 204);
    }),
  );
  app.put(
    "/faults/:pod/:service",
    onTap((tap, c) => putFault(c, parseFault, (fault) => tap.setFault(fault))),
  );
}

/** Answers 204 when the fault is in force. */
async function putFault<F>(
  c: Context,
  parse: (text: string) => Result<F, string>,
  set: (fault: F) => Promise<void>,
): Promise<Response> {
  const fault = parse(await c.req.text());
  if (!fault.ok) return c.text(`${fault.error}\n`, 400);
  await set(fault.value);
  return c.body(null, 204);
}
