/** Pulls and pushes in a group through several edges at once, and counts what failed. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Stack } from "../../src/local/stack.ts";
import { createClient, sha256 } from "../support/client.ts";
import { manifestText, manifestType } from "../support/image.ts";

type Answered = { readonly status: number; readonly text: string };

export type Counted = {
  readonly pulls: number;
  readonly pushes: number;
  /** Pulls that failed although the push of the tag had succeeded. Each entry has the answer. */
  readonly failedPulls: readonly string[];
  /** `refused` counts the pushes that were refused because of the move. `otherRefusals` has the answers to all other refused pushes. */
  readonly refused: number;
  readonly otherRefusals: readonly string[];
  /** The longest time for which one edge refused pushes. */
  readonly refusedForMs: number;
};

const repositories = 4;

export function createTraffic(
  stack: Stack,
  edges: readonly string[],
  { group, refusal }: { readonly group: string; readonly refusal: string },
) {
  const clients = edges.map((origin) => createClient(origin));
  /** The content that each tag must have, by `repository:tag`. */
  const held = new Map<string, string>();
  const ending = new AbortController();
  const running: Promise<void>[] = [];
  const failedPulls: string[] = [];
  const otherRefusals: string[] = [];
  const refusedSince = new Map<number, number>();
  let [pulls, pushes, refused, refusedForMs] = [0, 0, 0, 0];
  const nameOf = (index: number) => `${group}/drill${index % repositories}`;
  const isOn = () => !ending.signal.aborted;

  /** After a 401, sends the request again with a new token, as clients do. */
  async function send(edge: number, scope: string, request: (token: string) => Promise<Response>): Promise<Response> {
    const client = clients[edge] ?? createClient(stack.edge);
    const first = await request(await client.token([scope]));
    if (first.status !== 401) return first;
    await first.arrayBuffer();
    return request(await client.token([scope]));
  }

  async function pushOne(edge: number, repository: string, tag: string, content: string): Promise<Answered> {
    const client = clients[edge] ?? createClient(stack.edge);
    const scope = `repository:${repository}:pull,push`;
    const bytes = new Uint8Array(Buffer.from(content));
    const digest = await sha256(bytes);
    const started = await send(edge, scope, (token) =>
      client.get(`/v2/${repository}/blobs/uploads/`, token, { method: "POST" }),
    );
    if (started.status !== 202) return { status: started.status, text: await started.text() };
    const location = started.headers.get("Location") ?? "";
    const place = `${location}${location.includes("?") ? "&" : "?"}digest=${digest}`;
    const done = await send(edge, scope, (token) => client.get(place, token, { method: "PUT", body: bytes }));
    if (done.status !== 201) return { status: done.status, text: await done.text() };
    const blob = { digest, size: bytes.byteLength };
    const text = manifestText([blob, blob]);
    const headers = { "Content-Type": manifestType };
    const path = `/v2/${repository}/manifests/${tag}`;
    const put = await send(edge, scope, (token) => client.get(path, token, { method: "PUT", body: text, headers }));
    const answered = { status: put.status, text: await put.text() };
    if (put.status === 201) held.set(`${repository}:${tag}`, text);
    return answered;
  }

  async function pushAlong(edge: number): Promise<void> {
    for (let count = 0; isOn(); count += 1) {
      const repository = nameOf(count);
      // Every third push overwrites the same tag. Only this loop writes that tag, so the tag must have the content of the last push that succeeded.
      const tag = count % 3 === 0 ? `moving-${edge}` : `edge${edge}-${count}`;
      const { status, text } = await pushOne(edge, repository, tag, `${repository} ${tag} ${count}`);
      note(edge, status, text);
      await sleep(300);
    }
  }

  function note(edge: number, status: number, text: string): void {
    const since = refusedSince.get(edge);
    if (status === 201) {
      pushes += 1;
      refusedSince.delete(edge);
      if (since !== undefined) refusedForMs = Math.max(refusedForMs, Date.now() - since);
    } else if (status === 403 && text.includes(refusal)) {
      refused += 1;
      if (since === undefined) refusedSince.set(edge, Date.now());
    } else otherRefusals.push(`${status} at edge ${edge}: ${text}`);
  }

  async function pullAlong(): Promise<void> {
    for (let count = 0; isOn(); count += 1) {
      const known = [...held];
      const [name, text] = known[Math.floor(Math.random() * known.length)] ?? [];
      if (name === undefined || text === undefined) continue;
      const edge = count % edges.length;
      const failure = await pullOne(edge, name);
      pulls += 1;
      if (failure !== null) failedPulls.push(`${new Date().toISOString()} ${name} at edge ${edge}: ${failure}`);
      await sleep(60);
    }
  }

  /** Returns what went wrong, or null. */
  async function pullOne(edge: number, name: string): Promise<string | null> {
    const client = clients[edge] ?? createClient(stack.edge);
    const [repository = "", tag = ""] = name.split(":");
    const scope = `repository:${repository}:pull`;
    const manifest = await send(edge, scope, (token) => client.get(`/v2/${repository}/manifests/${tag}`, token));
    if (manifest.status !== 200) return `manifest ${manifest.status} ${await manifest.text()}`;
    const { config } = (await manifest.json()) as { config: { digest: string } };
    const redirected = await send(edge, scope, (token) =>
      client.get(`/v2/${repository}/blobs/${config.digest}`, token),
    );
    if (redirected.status !== 307) return `blob ${redirected.status} ${await redirected.text()}`;
    const bytes = await fetch(redirected.headers.get("Location") ?? "");
    const isWhole = (await sha256(new Uint8Array(await bytes.arrayBuffer()))) === config.digest;
    return isWhole ? null : `storage ${bytes.status}`;
  }

  return {
    repositories: () => Array.from({ length: repositories }, (_, index) => nameOf(index)),
    tags: (): ReadonlyMap<string, string> => held,
    start: async () => {
      for (let index = 0; index < repositories; index += 1) await pushOne(0, nameOf(index), "first", `first ${index}`);
      for (const edge of edges.keys()) running.push(pushAlong(edge));
      running.push(pullAlong(), pullAlong());
    },
    deleteOne: async () => {
      const name = `${nameOf(0)}:first`;
      const text = held.get(name) ?? "";
      held.delete(name);
      const digest = await sha256(new Uint8Array(Buffer.from(text)));
      const path = `/v2/${nameOf(0)}/manifests/${digest}`;
      const scope = `repository:${nameOf(0)}:pull,delete`;
      const answer = await send(0, scope, (token) =>
        (clients[0] ?? createClient(stack.edge)).get(path, token, { method: "DELETE" }),
      );
      if (answer.status !== 202) throw new Error(`the deletion was answered ${answer.status}`);
    },
    check: async (): Promise<Counted> => ({
      ...{ pulls, pushes, failedPulls: [...failedPulls], refused, otherRefusals: [...otherRefusals] },
      refusedForMs: Math.max(refusedForMs, ...[...refusedSince.values()].map((since) => Date.now() - since)),
    }),
    stop: async () => {
      ending.abort();
      await Promise.all(running);
    },
  };
}
