import { expect } from "vitest";
import type { Stack } from "../../src/local/stack.ts";
import { type ClientInit, createClient } from "./client.ts";

/** What a client sees of an answer, without the headers that differ from answer to answer. */
export type Seen = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
};

const ofThisAnswer = ["date", "connection", "keep-alive"];

export async function seenOf(answer: Response): Promise<Seen> {
  const headers = [...answer.headers].filter(([name]) => !ofThisAnswer.includes(name));
  return { status: answer.status, headers: Object.fromEntries(headers), text: await answer.text() };
}

export function pullerOf(stack: Stack, repository: string, token: string | null) {
  const client = createClient(stack.edge);
  return async (path: string, init: ClientInit = {}): Promise<Seen> =>
    seenOf(await client.get(`/v2/${repository}/${path}`, token, init));
}

/**
 * Pulls the tag `1`, and then its digest until the edge answers without the Pod. We repeat the request, because the edge keeps a manifest only after
 * its answer.
 */
export async function keepManifest(stack: Stack, repository: string, digest: string): Promise<void> {
  const pull = pullerOf(stack, repository, await createClient(stack.edge).token([`repository:${repository}:pull`]));
  expect((await pull("manifests/1")).status).toBe(200);
  await expect
    .poll(
      async () => {
        expect((await pull(`manifests/${digest}`)).status).toBe(200);
        await stack.edgeSettled();
        return stack.edgeSeen().at(-1)?.outcome;
      },
      { timeout: 5_000 },
    )
    .toBe("kept");
  stack.clearSeen();
}
