import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sealForGateway } from "../../src/pods/gateway-seal.ts";
import { MAX_ORDER_CHARACTERS, type MountOrder, mountLimits, sealOrder } from "../../src/pods/mount-order.ts";
import { sealGrant } from "../../src/pods/upload-grant.ts";
import { fuzz, fuzzTimeoutMs, wordOf } from "../support/fuzz.ts";
import {
  beginUpload,
  edgeOrigin,
  gatewayConfig,
  gatewayKey,
  repositoryName,
  startTestGateway,
  type TestGateway,
} from "../support/gateway.ts";
import { serveForTest } from "../support/toy-pod.ts";

const repository = repositoryName("acme/ordered");
const digest = `sha256:${"d".repeat(64)}` as MountOrder["digest"];
const runs = 200;

async function startAttack(env: Readonly<Record<string, string>> = {}) {
  const gateway = await startTestGateway({ env });
  const fetched: string[] = [];
  const port = await serveForTest((request, response) => {
    fetched.push(request.url ?? "");
    response.writeHead(404).end();
  });
  const order: MountOrder = {
    ...{ pod: "pod-a", repository, digest, url: `http://127.0.0.1:${port}/good`, token: await gateway.pod.token("") },
    ...{ edge: edgeOrigin, registry: gateway.pod.registry, copyMs: mountLimits.copyMs },
  };
  return { gateway, fetched, order };
}

const keysOf = ({ config: { keys } }: TestGateway, now = new Date()) => ({ keys, now });
const send = ({ url }: TestGateway, body: string, name: string = repository) =>
  fetch(`${url}/v2/${name}/blobs/uploads/`, { method: "POST", body });

async function expectRefused(gateway: TestGateway, fetched: readonly string[], answer: Response): Promise<void> {
  expect([answer.status, await answer.json()]).toMatchObject([404, { errors: [{ code: "UNSUPPORTED" }] }]);
  expect(gateway.tap.seen()).toEqual([]);
  expect(fetched).toEqual([]);
}

describe("hostile order", () => {
  test("an order that is expired, of another key, Pod or kind, or lacks a member asks no registry and fetches no URL", async () => {
    const { gateway, fetched, order } = await startAttack();
    const { grant, sealed } = await beginUpload(gateway, "acme/granted");
    const [own, old] = [keysOf(gateway), keysOf(gateway, new Date(Date.now() - 301_000))];
    const other = gatewayConfig({
      POD: "pod-a",
      REGISTRY: "http://127.0.0.1:1",
      EDGE: edgeOrigin,
      GATEWAY_KEY: gatewayKey(),
    });
    const { url: _url, ...withoutUrl } = order;
    const orders = [
      "",
      "x",
      "a".repeat(MAX_ORDER_CHARACTERS + 1),
      JSON.stringify(order),
      sealed,
      await sealOrder(order, old),
      // This order is for another Pod that has the same key by an operator's mistake.
      await sealOrder({ ...order, pod: "pod-b" }, own),
      await sealOrder(order, { keys: other.keys, now: new Date() }),
      await sealGrant({ ...grant, ...order, upload: "x", query: "", pin: "" }, own),
      await sealForGateway(order, 60, { kind: "upload-grant", ...own }),
      await sealForGateway(withoutUrl, 60, { kind: "mount-order", ...own }),
      await sealForGateway({ ...order, repository: "ACME//x" }, 60, { kind: "mount-order", ...own }),
      await sealForGateway({ ...order, digest: "../../x" }, 60, { kind: "mount-order", ...own }),
      await sealForGateway({ ...order, token: 7 }, 60, { kind: "mount-order", ...own }),
    ];
    for (const each of orders) await expectRefused(gateway, fetched, await send(gateway, each));
    await expectRefused(gateway, fetched, await send(gateway, await sealOrder(order, own), "acme/other"));
    // The unchanged order is good, so the gateway fetches its URL. No blob is there, which gives the 409.
    expect((await send(gateway, await sealOrder(order, own))).status).toBe(409);
    expect(fetched).toEqual(["/good"]);
  });

  test(
    "an order of which one character is changed, or the end is cut off, asks no registry and fetches no URL",
    async () => {
      const { gateway, fetched, order } = await startAttack();
      const sealed = await sealOrder(order, keysOf(gateway));
      const bytesOf = (text: string) => text.split(".").map((part) => Buffer.from(part, "base64url").toString("hex"));
      await fuzz(runs, fc.tuple(fc.nat(), fc.boolean(), wordOf("A a 0 9 _ - .")), async ([at, isCut, character]) => {
        const index = at % sealed.length;
        const changed = sealed.slice(0, index) + (isCut ? "" : character + sealed.slice(index + 1));
        // Some bits of the last character of a base64url part do not count. If only these bits change, the order is still good.
        if (bytesOf(changed).join() === bytesOf(sealed).join()) return;
        await expectRefused(gateway, fetched, await send(gateway, changed));
      });
    },
    fuzzTimeoutMs(runs),
  );

  test.each([
    "http://192.0.2.1/blob",
    "http://storage.example.com/blob",
    "https://169.254.169.254/latest/meta-data/",
    "https://[fe80::1]/blob",
    "https://[::ffff:169.254.169.254]/",
    "https://0xa9fea9fe/",
    "https://user:password@storage.example.com/blob",
    "file:///etc/passwd",
    "data:text/plain,blob",
    "/blob",
  ])("a good order for the URL %s fetches nothing", async (url) => {
    const { gateway, order } = await startAttack();
    const answer = await send(gateway, await sealOrder({ ...order, url }, keysOf(gateway)));
    expect([answer.status, await answer.json()]).toMatchObject([
      409,
      { errors: [{ message: expect.stringMatching(/^the order's URL (is|has|does)/) }] },
    ]);
    expect(gateway.tap.seen()).toEqual([]);
  });

  test.each([
    "/other",
    "http://127.0.0.1:1/",
    "http://localhost:1/",
    "http://169.254.169.254/latest/meta-data/",
    "https://storage.example.com/blob",
  ])("a source that redirects to %s is not followed", async (location) => {
    const { gateway, order } = await startAttack({ PLAIN_HTTP: "allow" });
    const fetched: string[] = [];
    const port = await serveForTest((request, response) => {
      fetched.push(request.url ?? "");
      response.writeHead(307, { Location: location }).end();
    });
    const url = `http://127.0.0.1:${port}/blob`;
    const answer = await send(gateway, await sealOrder({ ...order, url }, keysOf(gateway)));
    expect([answer.status, fetched]).toEqual([409, ["/blob"]]);
    // The registry was only asked whether it has the blob.
    expect(gateway.tap.seen()).toMatchObject([{ method: "HEAD", status: 401 }]);
  });
});
