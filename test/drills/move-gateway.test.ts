import type { RequestListener } from "node:http";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Pod } from "../../src/directory/directory.ts";
import type { Digest } from "../../src/oci/digest.ts";
import type { Reference } from "../../src/oci/reference.ts";
import { copyBlob } from "../../src/podctl/move/copy-blob.ts";
import type { GatewayCopy } from "../../src/podctl/move/gateway-copy.ts";
import { openRegistry, type Registry } from "../../src/podctl/move/registry.ts";
import { mountLimits } from "../../src/pods/mount-order.ts";
import { pushBlob } from "../support/client.ts";
import { repositoryName } from "../support/gateway.ts";
import { contentOf, push } from "../support/group-content.ts";
import { manifestText } from "../support/image.ts";
import { podctl } from "../support/podctl.ts";
import { serveForTest, sha256 } from "../support/toy-pod.ts";
import { useStack } from "../support/toy-stack.ts";
import { useMoves } from "../support/use-moves.ts";

// Each test is a whole move by a podctl process, which takes long on a busy machine.
vi.setConfig({ testTimeout: 120_000 });
const stack = useStack({ gateways: "fleet" });
const { env, folder } = useMoves(stack, {});
afterEach(() => stack.current.setFault("pod-b", "gateway", { mode: "none" }));

const large = 600_000;
const assign = (group: string, members: object) =>
  stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", ...members }));

/** Makes a group of pod-a whose image has a small config and a large layer. The manifest says that each has at most `mostBytes` bytes. */
async function startGroup(group: string, mostBytes = large): Promise<string> {
  await assign(group, { pod: "pod-a" });
  const name = `${group}/app`;
  const texts = [`config of ${group}`, `layer of ${group} `.repeat(large).slice(0, large)];
  const blobs = await Promise.all(
    texts.map(async (text) => ({
      digest: await pushBlob(stack.current, name, text),
      size: Math.min(text.length, mostBytes),
    })),
  );
  await push(stack.current, name, "1", manifestText(blobs));
  // These pushes made the edge read that no move of the group is under way. While the edge remembers that, it does not let the gateway copy.
  await stack.current.restartEdge();
  return group;
}

/** Writes the phase `copy` to KV. podctl then goes on with this move, and leaves out the checks that it makes before a new move. */
async function enterCopy(group: string): Promise<void> {
  await assign(group, { pod: "pod-a", move: { to: "pod-b", phase: "copy", since: new Date().toISOString() } });
}

function runMove(group: string, variables: Readonly<Record<string, string>> = {}) {
  stack.current.clearSeen();
  const options = ["--to", "pod-b", "--take-over", "--yes", "--json", "--wait", "0.2", "--state", folder];
  return podctl(["move", group, ...options], { env: { ...env, ...variables } });
}

async function move(group: string, variables: Readonly<Record<string, string>> = {}) {
  const { code, stdout, stderr } = await runMove(group, variables);
  expect([code, stderr]).toEqual([0, expect.stringContaining("hold the same tags")]);
  const name = `${group}/app`;
  const [a, b] = [await contentOf(stack.current, "pod-a", [name]), await contentOf(stack.current, "pod-b", [name])];
  expect(b).toEqual(a);
  const [{ copied }] = JSON.parse(stdout) as [{ copied: { blobs: number; bytesByGateway: number } }];
  return copied;
}

const digest = sha256("a layer") as Digest;

async function openPod(id: string, answer: RequestListener): Promise<Registry> {
  const registry = `http://127.0.0.1:${await serveForTest(answer)}`;
  const pod = { id, registry, blobs: { hosts: [], stores: [] } } as unknown as Pod;
  return openRegistry(pod, { user: null, jobs: 2, auth: "none" });
}

const ordersOf = (group: string) =>
  stack.current
    .seen("pod-b", "gateway")
    .filter(({ path }) => path === `/v2/${group}/app/blobs/uploads/`)
    .map(({ status }) => status);

describe("a large blob of a group that moves", () => {
  test("goes from Pod to Pod by the target's gateway, and a small blob goes through podctl", async () => {
    const group = await startGroup("by-gateway");
    expect(await move(group)).toMatchObject({ blobs: 2, bytesByGateway: large });
    expect(ordersOf(group)).toEqual([201]);
  });

  test("goes by the gateway once if many images share it, and none of them goes through podctl meanwhile", async () => {
    const group = "shared";
    await assign(group, { pod: "pod-a" });
    const pushText = async (text: string) => ({
      digest: await pushBlob(stack.current, `${group}/app`, text),
      size: text.length,
    });
    const base = await pushText("base ".repeat(large).slice(0, large));
    for (const tag of ["1", "2", "3", "4", "5", "6"]) {
      const own = await pushText(`layer of ${tag} `.repeat(large).slice(0, large));
      await push(stack.current, `${group}/app`, tag, manifestText([await pushText(`config of ${tag}`), base, own]));
    }
    await stack.current.restartEdge();
    expect(await move(group)).toMatchObject({ blobs: 13, bytesByGateway: 7 * large });
    expect(ordersOf(group)).toEqual([201, 201, 201, 201, 201, 201, 201]);
  });

  test("goes through podctl if the edge gives the user no token, because each Pod has users of its own", async () => {
    const group = await startGroup("unknown");
    const users = { PODCTL_USER: "none", PODCTL_USER_POD_A: "demo", PODCTL_USER_POD_B: "demo" };
    const passwords = { PODCTL_PASSWORD: "none", PODCTL_PASSWORD_POD_A: "demo", PODCTL_PASSWORD_POD_B: "demo" };
    expect(await move(group, { ...users, ...passwords })).toMatchObject({ blobs: 2, bytesByGateway: 0 });
    expect(ordersOf(group)).toEqual([]);
  });

  test("is not copied if it is larger than its manifest says, because the new Pod may have no room for it", async () => {
    const group = await startGroup("lying", large / 2);
    const { code, stderr } = await runMove(group);
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining(`the answer has ${large} bytes, and the manifest says 300000`),
    ]);
    expect(ordersOf(group)).toEqual([]);
    expect(await contentOf(stack.current, "pod-b", [`${group}/app`])).toEqual({});
  });

  test("goes through podctl if the gateway fails", async () => {
    const group = await startGroup("failing");
    await enterCopy(group);
    await stack.current.setFault("pod-b", "gateway", { mode: "status", status: 500 });
    expect(await move(group)).toMatchObject({ blobs: 2, bytesByGateway: 0 });
    expect(ordersOf(group)).toEqual([500]);
  });

  test.each([
    [mountLimits.maxBytes, [digest]],
    [mountLimits.maxBytes + 1, []],
  ])("of %d bytes: the gateway is asked for it only if it copies blobs of this size", async (bytes, wanted) => {
    // The source's HEAD says that the blob is there, and its GET that it is not. So no test has to send 2 GiB.
    const source = await openPod("source", (request, response) =>
      request.method === "HEAD"
        ? void response.writeHead(200, { "Content-Length": bytes }).end()
        : void response.writeHead(404).end(),
    );
    const target = await openPod("target", ({ method }, response) => {
      response.writeHead(method === "POST" ? 202 : 404, { Location: "/v2/globex/app/blobs/uploads/1" }).end();
    });
    const asked: string[] = [];
    const gateway: GatewayCopy = async (_, wantedDigest) => {
      asked.push(wantedDigest);
      return false;
    };
    const blob = { digest, bytes, elsewhere: false };
    const copying = { blob, home: null, namedBy: "1" as Reference };
    expect(await copyBlob({ source, target, gateway }, repositoryName("globex/app"), copying)).toBe("missing");
    expect(asked).toEqual(wanted);
  });
});
