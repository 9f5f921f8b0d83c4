import { cp } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import type { Stack } from "../../src/local/stack.ts";
import { createClient } from "../support/client.ts";
import { pushImage } from "../support/image.ts";
import { processIdsNaming } from "./processes.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

describeWith(needs.registryPods, "manifest of a docker-registry Pod with 200 tags and a slow storage", () =>
  scenario("registry"),
);
describeWith(needs.distributionPods, "manifest of a distribution v3 Pod with 200 tags and a slow storage", () =>
  scenario("distribution-v3"),
);

const repository = "acme/many";
const count = 200;
/** A list of 10,000 tags takes a registry about this long. */
const slowListMs = 11_000;
const slowDeleteMs = 62_000;

/** Copies in the storage, because to push each tag would take longer. */
async function copyTags({ stateDir }: Stack): Promise<void> {
  for (const part of ["buckets", "bucket-metadata"]) {
    const tags = `${stateDir}/pods/pod-a/${part}/pod-a/docker/registry/v2/repositories/${repository}/_manifests/tags`;
    for (let tag = 2; tag <= count; tag += 1) await cp(`${tags}/1`, `${tags}/${tag}`, { recursive: true });
  }
}

function scenario(kind: PodKind): void {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage(kind);
  });
  afterAll(() => stage?.close());

  async function whileStorageRests<T>(afterMs: number, restMs: number, ask: () => Promise<T>): Promise<T> {
    const [storage, ...others] = await processIdsNaming(`${stage.stack.stateDir}/pods/pod-a/buckets`);
    if (storage === undefined || others.length > 0) throw new Error("the Pod's storage is not one process");
    if (afterMs === 0) process.kill(storage, "SIGSTOP");
    const answered = ask();
    await sleep(afterMs);
    process.kill(storage, "SIGSTOP");
    await sleep(restMs);
    process.kill(storage, "SIGCONT");
    return answered;
  }

  it("a slow list has them all, and a slow DELETE ends when all are deleted", async () => {
    const { stack } = stage;
    const { digest } = await pushImage(stack, repository, 1);
    await copyTags(stack);
    const client = createClient(stack.edge);
    const token = await client.token([`repository:${repository}:pull,push,delete`]);
    const tags = async () => {
      const answer = await client.get(`/v2/${repository}/tags/list`, token);
      const { tags: listed } = (await answer.json()) as { readonly tags?: readonly string[] | null };
      return listed?.length ?? 0;
    };
    expect(await whileStorageRests(0, slowListMs, tags)).toBe(count);
    stack.clearSeen();
    const deleted = await whileStorageRests(100, slowDeleteMs, () =>
      client.get(`/v2/${repository}/manifests/${digest}`, token, { method: "DELETE" }),
    );
    expect(deleted.status).toBe(202);
    // While the DELETE waits, the edge pings the Pod by `GET /v2/`. Apart from these pings, the Pod got only one request.
    const writes = stack.seen("pod-a", "registry").filter(({ path }) => path !== "/v2/");
    expect(writes.map(({ method, status }) => [method, status])).toEqual([["DELETE", 202]]);
    expect(await tags()).toBe(0);
  });
}
