import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Stack } from "../../src/local/stack.ts";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { createClient, layersOf, pushBlob } from "../support/client.ts";
import { manifestText, manifestType, pushImage, putManifest } from "../support/image.ts";
import { answerBlob, asPodB, startOddPod } from "../support/odd-pod.ts";
import { podctl } from "../support/podctl.ts";
import { useStack } from "../support/toy-stack.ts";

async function getBlob(stack: Stack, repository: string, digest: string): Promise<number> {
  const client = createClient(stack.edge);
  const token = await client.token([`repository:${repository}:pull`]);
  const answer = await client.get(`/v2/${repository}/blobs/${digest}`, token);
  expect(answer.headers.has("Location")).toBe(answer.status === 307);
  return answer.status;
}

async function getManifest(stack: Stack, repository: string): Promise<number> {
  const client = createClient(stack.edge);
  return (await client.get(`/v2/${repository}/manifests/1`, await client.token([`repository:${repository}:pull`])))
    .status;
}

const byHead = (topology: string): string => topology.replaceAll("proof: manifest", "proof: head");

describe("registry that takes a manifest without its blobs", () => {
  const asked = useStack({ lenientManifests: true, seedImages: false, topology: byHead });
  const trusted = useStack({ lenientManifests: true });

  /** The attacker pushes and pulls a manifest of its own that names a victim's layer, and then asks for that layer. */
  async function attack(stack: Stack): Promise<number> {
    const secret = await pushBlob(stack, "acme/victim", "a victim's layer");
    const own = await pushBlob(stack, "acme/attacker", "an own config");
    expect((await putManifest(stack, "acme/attacker", "1", manifestText([own, secret]))).status).toBe(201);
    expect(await getManifest(stack, "acme/attacker")).toBe(200);
    return getBlob(stack, "acme/attacker", secret);
  }

  test("with `proof: head` the manifest gives access to nothing", async () => {
    expect(await attack(asked.current)).toBe(404);
  });

  test("with `proof: manifest` the manifest gives access to any blob of its Pod, and podctl doctor says so", async () => {
    expect(await attack(trusted.current)).toBe(307);
    const file = `${trusted.current.stateDir}/stack.json`;
    await writeStackFile(trusted.current, file);
    const { code, stdout } = await podctl(["doctor", "pod-a", "--write"], {
      env: { PODCTL_STACK: file, NO_COLOR: "1" },
    });
    expect([code, stdout]).toEqual([1, expect.stringMatching(/manifests-lenient: set `blobs.proof` to head/)]);
  });
});

describe("registry that checks its manifests", () => {
  const stack = useStack({ seedImages: false });

  test("a proof of repository A serves neither repository B nor one below A", async () => {
    const { blobs } = await pushImage(stack.current, "acme/a", 1);
    await pushImage(stack.current, "acme/a/below", 1);
    await pushImage(stack.current, "acme/b", 1);
    for (const blob of blobs) {
      expect(await getBlob(stack.current, "acme/a", blob)).toBe(307);
      for (const other of ["acme/b", "acme/a/below", "globex/a"]) {
        expect(await getBlob(stack.current, other, blob)).toBe(404);
      }
    }
  });

  test("a manifest proves neither its subject, nor a layer with URLs elsewhere, nor itself", async () => {
    const { blobs, digest } = await pushImage(stack.current, "acme/secret", 1);
    const [secret = ""] = blobs;
    const own = await pushBlob(stack.current, "acme/thief", "an own config");
    const foreign = { mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar", size: 1 };
    const manifest = JSON.parse(manifestText([own])) as object;
    for (const text of [
      JSON.stringify({ ...manifest, layers: [{ ...foreign, digest: secret, urls: ["https://elsewhere.test/layer"] }] }),
      JSON.stringify({ ...manifest, subject: { mediaType: manifestType, digest: secret, size: 1 } }),
    ]) {
      expect((await putManifest(stack.current, "acme/thief", "1", text)).status).toBe(201);
      expect(await getManifest(stack.current, "acme/thief")).toBe(200);
      expect(await getBlob(stack.current, "acme/thief", secret)).toBe(404);
    }
    expect(await getBlob(stack.current, "acme/secret", digest)).toBe(404);
  });
});

describe("blob that is deleted at the Pod", () => {
  const proofTtlSeconds = 2;
  const stack = useStack({
    seedImages: false,
    topology: (text) =>
      text.replaceAll("proof: manifest", `proof: manifest\n      proofTtlSeconds: ${proofTtlSeconds}`),
  });

  test("it is served for proofTtlSeconds at most, even while its manifest is pulled", async () => {
    const { blobs } = await pushImage(stack.current, "acme/app", 1);
    const [config = "", layer = ""] = blobs;
    expect(await getBlob(stack.current, "acme/app", layer)).toBe(307);
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/app:delete"]);
    const direct = createClient(stack.current.pods["pod-a"].registry.direct);
    const jwt = token.split("/").slice(1).join("/");
    expect((await direct.get(`/v2/acme/app/blobs/${layer}`, jwt, { method: "DELETE" })).status).toBe(202);
    for (let second = 0; second < proofTtlSeconds; second += 1) {
      expect(await getManifest(stack.current, "acme/app")).toBe(200);
      await sleep(1_000);
    }
    expect(await getManifest(stack.current, "acme/app")).toBe(200);
    expect(await getBlob(stack.current, "acme/app", layer)).toBe(404);
    expect(await getBlob(stack.current, "acme/app", config)).toBe(307);
  });
});

describe("access key that is copied into another Pod's record", () => {
  const stack = useStack({
    topology: (text) => text.replace(`\${POD_B_STORAGE_CREDENTIALS}`, `\${POD_A_STORAGE_CREDENTIALS}`),
  });

  test("it gives access to nothing, and the answer is 500 without a URL", async () => {
    const [layer] = await layersOf(stack.current, "globex/private");
    expect(await getBlob(stack.current, "globex/private", layer?.digest ?? "")).toBe(500);
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({
      outcome: "failed",
      cause: 'sealed value of Pod "pod-b", field "blobs.stores.0.credentials", was sealed for another pod',
    });
  });
});

describe("proxy that answers 200 to a HEAD of any blob", async () => {
  const pod = await startOddPod();
  const stack = useStack({ topology: asPodB(pod), seedImages: false });

  test("its answer names no digest, so it proves nothing, and no URL is signed", async () => {
    pod.answer((response, { method }) => void response.writeHead(method === "HEAD" ? 200 : 404).end());
    const digest = `sha256:${"e".repeat(64)}`;
    expect(await getBlob(stack.current, "globex/app", digest)).toBe(404);
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:globex/app:pull"]);
    await client.get(`/v2/globex/app/blobs/${digest}`, token, { method: "HEAD" });
    expect(await getBlob(stack.current, "globex/app", digest)).toBe(404);
    expect(stack.current.seen("pod-b", "storage")).toEqual([]);
  });

  test("a client cannot make its request look like gRPC, to which Envoy answers its own errors with 200", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:globex/app:pull"]);
    const headers = { "Content-Type": "application/grpc+proto", "grpc-timeout": "1m" };
    await client.get(`/v2/globex/app/blobs/sha256:${"e".repeat(64)}`, token, { headers });
    const received = pod.seen.map(({ headers }) => [headers["content-type"], headers["grpc-timeout"]]);
    expect(received).toEqual([
      ["application/octet-stream", undefined],
      ["application/octet-stream", undefined],
    ]);
  });
});

describe("DELETE of a blob", async () => {
  const pod = await startOddPod();
  const stack = useStack({ topology: asPodB(pod), seedImages: false });
  const digest = `sha256:${"d".repeat(64)}`;
  const unknownKey = "pods.v1.pod-b/eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.c2ln";

  /** Returns how many HEADs the edge sends to the Pod for a GET after the DELETE. */
  async function headsAfter(token: string, answerDelete: (response: ServerResponse) => void): Promise<number> {
    pod.answer((response, { method, path }) => {
      if (method === "DELETE") answerDelete(response);
      else answerBlob(response, path);
    });
    expect(await getBlob(stack.current, "globex/app", digest)).toBe(307);
    const client = createClient(stack.current.edge);
    await client.get(`/v2/globex/app/blobs/${digest}`, token, { method: "DELETE" });
    await stack.current.edgeSettled();
    const isHead = ({ method }: { readonly method: string }) => method === "HEAD";
    const before = pod.seen.filter(isHead).length;
    expect(await getBlob(stack.current, "globex/app", digest)).toBe(307);
    return pod.seen.filter(isHead).length - before;
  }

  const verified = () => createClient(stack.current.edge).token(["repository:globex/app:delete"]);
  const status = (code: number) => (response: ServerResponse) => void response.writeHead(code).end();
  const noAnswer = (response: ServerResponse) => void response.destroy();

  test.each([401, 404, 405, 500, 503])(
    "with an unknown key, a DELETE that the Pod answers with %d leaves the proof",
    async (code) => expect(await headsAfter(unknownKey, status(code))).toBe(0),
  );

  test("with an unknown key, only a DELETE that the Pod confirms ends the proof", async () => {
    expect(await headsAfter(unknownKey, noAnswer)).toBe(0);
    expect(await headsAfter(unknownKey, status(202))).toBe(1);
  });

  test("with a verified token, a DELETE ends the proof unless it is refused, because it may have worked", async () => {
    expect(await headsAfter(await verified(), noAnswer)).toBe(1);
    expect(await headsAfter(await verified(), status(500))).toBe(1);
    expect(await headsAfter(await verified(), status(403))).toBe(0);
  });
});
