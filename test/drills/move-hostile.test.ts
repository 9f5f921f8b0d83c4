import type { IncomingMessage, ServerResponse } from "node:http";
import { queryObjects } from "node:v8";
import { describe, expect, test } from "vitest";
import type { Pod } from "../../src/directory/directory.ts";
import type { Reference } from "../../src/oci/reference.ts";
import { CliFailure } from "../../src/podctl/failure.ts";
import { copyBlob } from "../../src/podctl/move/copy-blob.ts";
import type { Group } from "../../src/podctl/move/group.ts";
import { listReferrers, listRepositories, listTags } from "../../src/podctl/move/lists.ts";
import { partsOf } from "../../src/podctl/move/manifest-parts.ts";
import { type Limits, openRegistry } from "../../src/podctl/move/registry.ts";
import { createBudget, getManifest, takeSnapshot } from "../../src/podctl/move/snapshot.ts";
import { repositoryName } from "../support/gateway.ts";
import { serveForTest, sha256 } from "../support/toy-pod.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

async function openPod(id: string, answer: Answer, options: { readonly limits?: Limits } = {}) {
  const registry = `http://127.0.0.1:${await serveForTest(answer)}`;
  const pod = { id, registry, blobs: { hosts: [], stores: [] } } as unknown as Pod;
  return openRegistry(pod, { user: null, jobs: 2, auth: "none", ...options });
}

const limits: Limits = { idleMs: { read: 200, write: 5_000 }, answerMs: 10_000, pausesMs: [10, 10] };

const name = repositoryName("globex/app");
const digestOf = (text: string) => sha256(Buffer.from(text));
const content = Buffer.alloc(100_000, "a layer ");
const digest = sha256(content) as Parameters<typeof copyBlob>[2]["blob"]["digest"];

async function copyFrom(source: Answer, bytes: number) {
  const asked: string[] = [];
  let takenBytes = 0;
  const target = await openPod("target", (request, response) => {
    const { method = "", url = "" } = request;
    asked.push(method);
    request.on("data", (piece: Buffer) => {
      takenBytes += piece.byteLength;
    });
    request.on("error", () => {});
    const answer = (status: number) => void response.writeHead(status, { Location: `${url.split("?")[0]}1` }).end();
    if (method === "HEAD") answer(404);
    else if (method === "DELETE") answer(204);
    else request.once("end", () => answer(method === "POST" ? 202 : 201));
  });
  const ways = { source: await openPod("source", source), target, gateway: null };
  const blob = { digest, bytes, elsewhere: false };
  const copied = await copyBlob(ways, name, { blob, home: null, namedBy: "1" as Reference }).catch(
    (error: unknown) => error,
  );
  return { asked, takenBytes: () => takenBytes, copied };
}

const endless: Answer = (_, response) => {
  const more = () => {
    let isTaken = true;
    while (isTaken && !response.destroyed) isTaken = response.write(content);
  };
  response.writeHead(200).on("drain", more);
  more();
};

const sends =
  (announced: number | null): Answer =>
  (_, response) =>
    void response.writeHead(200, announced === null ? {} : { "Content-Length": announced }).end(content);

describe("move from a hostile registry", () => {
  test.each([
    ["without end", endless, 10, "more bytes than the 10 of its manifest"],
    ["more bytes than its manifest says", sends(content.byteLength), 10, "the answer has 100000 bytes"],
    ["fewer bytes than its manifest says", sends(content.byteLength), 200_000, "and the manifest says 200000"],
    ["without any size", sends(null), 0, "neither its manifest nor the answer says how long it is"],
  ])("a blob that it sends %s is not copied, and the upload is deleted", async (_, source, bytes, why) => {
    const { asked, takenBytes, copied } = await copyFrom(source, bytes);
    expect(copied).toBeInstanceOf(CliFailure);
    expect(String(copied)).toContain(why);
    expect(String(copied)).toContain(`blob ${digest} of "globex/app:1" cannot be copied: `);
    expect(takenBytes()).toBeLessThanOrEqual(bytes);
    expect([asked.slice(0, 2), asked.at(-1)]).toEqual([["HEAD", "POST"], "DELETE"]);
  });

  test.each([
    ["of an announced length", sends(content.byteLength), content.byteLength],
    ["of unknown length", sends(null), content.byteLength],
    ["whose manifest says no size", sends(content.byteLength), 0],
  ])("a blob %s that is as long as its manifest says is copied whole", async (_, source, bytes) => {
    const { asked, takenBytes, copied } = await copyFrom(source, bytes);
    expect([copied, takenBytes(), asked]).toEqual(["copied", content.byteLength, ["HEAD", "POST", "PUT"]]);
  });

  test.each([
    ["pages", `{"tags":[]}`],
    ["bytes", `{"tags":[],"more":"${"x".repeat(15_000_000)}"}`],
  ])("a list of tags that has %s without end ends the command with the list's place", async (_, body) => {
    let pages = 0;
    const registry = await openPod("source", (__, response) => {
      pages += 1;
      response.writeHead(200, { Link: `</v2/${name}/tags/list?last=${pages}>; rel="next"` }).end(body);
    });
    await expect(listTags(registry, name)).rejects.toThrow(
      `Pod "source" gives a list without end at "/v2/${name}/tags/list?n=1000"`,
    );
    registry.close();
  });

  test("a million tags on one page are read, and a page that has too many bytes ends the command at once", async () => {
    const tags = Array.from({ length: 1_000_000 }, (_, index) => `main-${String(index).padStart(40, "0")}`);
    let [asked, body] = [0, JSON.stringify({ tags })];
    const registry = await openPod("source", (_, response) => {
      asked += 1;
      response.writeHead(200).end(body);
    });
    expect(await listTags(registry, name)).toHaveLength(tags.length);
    body = "x".repeat(70_000_000);
    await expect(listTags(registry, name)).rejects.toThrow(
      `"source" was asked for GET "/v2/${name}/tags/list", and the answer has more than 67108864 bytes`,
    );
    expect(asked).toBe(2);
    registry.close();
  });

  test.each([
    ["a page with status 200", "<html>Back at nine</html>"],
    ["a list that is no list", '{"tags":"1","repositories":{}}'],
  ])("%s is no empty list, because the move would remove all tags of the target", async (_, body) => {
    const registry = await openPod("source", (__, response) => void response.writeHead(200).end(body));
    await expect(listTags(registry, name)).rejects.toThrow('Pod "source" answers 200 without a list of tags');
    const group = { prefix: repositoryName("globex"), without: [] } as unknown as Group;
    await expect(listRepositories(registry, group)).rejects.toThrow(
      '"source" answers 200 without a list of repositories',
    );
    registry.close();
  });

  test("a chain of referrers without end ends the command with the last manifest", async () => {
    const registry = await openPod("source", ({ url = "" }, response) => {
      const digest = /sha256:\w+/.exec(url)?.[0] ?? digestOf("1");
      const headers = { "Content-Type": "application/vnd.oci.image.index.v1+json", "Docker-Content-Digest": digest };
      const text = url.includes("/tags/list")
        ? { tags: ["1"] }
        : { schemaVersion: 2, manifests: url.includes("/referrers/") ? [{ digest: digestOf(digest), size: 1 }] : [] };
      response.writeHead(200, headers).end(JSON.stringify(text));
    });
    await expect(takeSnapshot(registry, name, { jobs: 2, mostManifests: 50 })).rejects.toThrow(
      /^Pod "source" has more than 50 manifests in "globex\/app", the last of them sha256:\w{64}; look at what refers to it there$/,
    );
    registry.close();
  });

  test("lists of referrers that are too large in all end the command, and a referrer that is named twice counts once", async () => {
    const descriptor = { digest: digestOf("signature"), annotations: { text: "x".repeat(1_000) } };
    const registry = await openPod("source", ({ url = "" }, response) => {
      const digest = /sha256:\w+/.exec(url)?.[0] ?? digestOf(url);
      const text = url.includes("/tags/list")
        ? { tags: ["1", "2", "3"] }
        : { manifests: url.includes("/referrers/") ? Array(500).fill(descriptor) : [] };
      const headers = { "Content-Type": "application/json", "Docker-Content-Digest": digest };
      response.writeHead(200, headers).end(JSON.stringify(text));
    });
    const snapshotWith = (bytes: number) => takeSnapshot(registry, name, { jobs: 1, budget: createBudget(bytes) });
    expect([...(await snapshotWith(8_000)).referrers.values()].map((own) => own.length)).toEqual([1, 1, 1, 1]);
    await expect(snapshotWith(2_000)).rejects.toThrow(
      'Pod "source" names more tags, children and referrers than podctl can hold, up to those in "globex/app"',
    );
    registry.close();
  });

  const signed = "a".repeat(64);
  const [isOdd, isSecondPage] = [
    (url: string) => url.endsWith(`/sha256:${signed}`),
    (url: string) => url.includes("page=2"),
  ];
  test.each([
    ["is missing at one manifest only", isOdd, 404, "json", "has no list of the referrers of"],
    ["is no list at one manifest only", isOdd, 200, "html", "has no list of the referrers of"],
    ["breaks off at its second page", isSecondPage, 404, "json", "answers 404 for the referrers of"],
    ["is refused", isOdd, 403, "json", "answers 403 for the referrers of"],
  ])(
    "a list of referrers that %s ends the command, because signatures would be lost",
    async (_, isWrong, status, type, why) => {
      const registry = await openPod("source", ({ url = "" }, response) => {
        const headers = { "Content-Type": "application/json", "Docker-Content-Digest": `sha256:${signed}` };
        if (isWrong(url)) return void response.writeHead(status, { "Content-Type": `text/${type}` }).end("{}");
        const next = isSecondPage(url) ? {} : { Link: `<${url}?page=2>; rel="next"` };
        response.writeHead(200, url.includes("/referrers/") ? { ...headers, ...next } : headers);
        response.end(JSON.stringify(url.includes("/tags/list") ? { tags: ["1"] } : { manifests: [] }));
      });
      await expect(takeSnapshot(registry, name, { jobs: 1 })).rejects.toThrow(
        `Pod "source" ${why} "${name}@sha256:${signed}"`,
      );
      registry.close();
    },
  );

  test("a registry without lists of referrers is known by two answers", async () => {
    const asked: string[] = [];
    const registry = await openPod("source", ({ url = "" }, response) => {
      if (url.includes("/referrers/")) asked.push(url);
      const headers = { "Docker-Content-Digest": digestOf(url) };
      response.writeHead(url.includes("/referrers/") ? 404 : 200, headers).end('{"tags":["1","2","3"]}');
    });
    expect(await takeSnapshot(registry, name, { jobs: 1 })).toMatchObject({ listsReferrers: false });
    expect(asked).toHaveLength(2);
    registry.close();
  });

  test.each([
    [
      "names 10,001 layers",
      { layers: Array.from({ length: 10_001 }, (_, index) => ({ digest: digestOf(String(index)) })) },
    ],
    ["has more than 4 MiB", { annotations: { text: "x".repeat(4_300_000) } }],
  ])("a manifest that %s cannot be moved, because dozens of such would fill the memory", async (_, manifest) => {
    const registry = await openPod("source", (__, response) => void response.end(JSON.stringify(manifest)));
    await expect(getManifest(registry, name, "1" as Reference)).rejects.toThrow(
      '"globex/app:1" at Pod "source" has more than 4194304 bytes or names more than 10000 blobs and manifests',
    );
    registry.close();
  });

  test("a repository does not exist only if the registry itself says so, and not a proxy", async () => {
    let body = '{"errors":[{"code":"NAME_UNKNOWN"}]}';
    const registry = await openPod("source", (_, response) => void response.writeHead(404).end(body));
    expect(await listTags(registry, name)).toEqual([]);
    body = "<html>Not Found</html>";
    await expect(listTags(registry, name)).rejects.toThrow('Pod "source" answers 404 for the tags of "globex/app"');
    registry.close();
  });

  test("a list of tags whose second page is missing is no shorter list", async () => {
    const registry = await openPod("source", ({ url = "" }, response) => {
      const isFirst = !url.includes("last=");
      const next = `</v2/${name}/tags/list?last=1>; rel="next"`;
      response.writeHead(isFirst ? 200 : 404, isFirst ? { Link: next } : {}).end('{"tags":["1"]}');
    });
    await expect(listTags(registry, name)).rejects.toThrow('Pod "source" answers 404 for the tags of "globex/app"');
    registry.close();
  });

  test("a manifest, a list and a Link that no honest client or registry writes end nothing by a bug", async () => {
    const odd = { toString: 1 };
    const [config, layer] = [digestOf("config"), digestOf("layer")];
    const manifest = { config: { digest: config, size: 6 }, manifests: [{ mediaType: odd, digest: layer, size: 5 }] };
    const { blobs, children } = partsOf(Buffer.from(JSON.stringify(manifest)));
    expect([blobs.map((blob) => blob.digest), children]).toEqual([[config], [layer]]);
    const names = Array.from({ length: 200_000 }, (_, index) => `globex/${index}`);
    const registry = await openPod("source", ({ url = "" }, response) => {
      const next = url.includes("/tags/") ? { Link: '<https://x//>; rel="next"' } : {};
      response.writeHead(200, { "Content-Type": "application/json", ...next });
      const text = url.includes("/_catalog") ? { repositories: names } : { tags: ["1"], manifests: [{ digest: odd }] };
      response.end(JSON.stringify(text));
    });
    expect(await listReferrers(registry, name, digest)).toEqual([]);
    const group = { prefix: repositoryName("globex"), without: [] } as unknown as Group;
    expect(await listRepositories(registry, group)).toHaveLength(names.length);
    registry.close();
  });

  test("an answer whose bytes come too slowly ends the command with the place, and is not asked for again", async () => {
    let asked = 0;
    const trickle: Answer = (_, response) => {
      asked += 1;
      response.writeHead(200);
      const timer = setInterval(() => response.write(" "), 20);
      response.once("close", () => clearInterval(timer));
    };
    const registry = await openPod("source", trickle, { limits: { ...limits, answerMs: 300 } });
    await expect(listTags(registry, name)).rejects.toThrow(
      `the registry of Pod "source" has not answered GET "/v2/${name}/tags/list" whole in 0.3 s`,
    );
    expect(asked).toBe(1);
    registry.close();
  });

  test("a registry that fails only for one image ends the command with the image, because the operator must find it there", async () => {
    let asked = 0;
    const broken = '{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{}}]}';
    const registry = await openPod(
      "source",
      ({ method, url = "" }, response) => {
        if (url.includes("/tags/list")) return void response.end('{"tags":["broken"]}');
        asked += 1;
        response.writeHead(500).end(method === "HEAD" ? "" : broken);
      },
      { limits },
    );
    const fails = 'the registry of Pod "source" fails: it answers 500 to';
    const rest = "; run the command again, it goes on where it was";
    const path = `/v2/${name}/manifests/broken`;
    await expect(takeSnapshot(registry, name, { jobs: 1 })).rejects.toThrow(`${fails} HEAD "${path}"${rest}`);
    expect(asked).toBe(1 + limits.pausesMs.length);
    await expect(registry.ask({ method: "PUT", path, scopes: [] })).rejects.toThrow(
      `${fails} PUT "${path}": ${broken}${rest}`,
    );
    registry.close();
  });

  test("a deletion may be silent for longer than a read, because a registry that is left stops it half done", async () => {
    const asked: (string | undefined)[] = [];
    const slow: Answer = ({ method }, response) => {
      asked.push(method);
      setTimeout(() => response.writeHead(202).end(), 600);
    };
    const registry = await openPod("target", slow, { limits });
    const path = `/v2/${name}/manifests/${digest}`;
    expect(await registry.open({ path, scopes: [] })).toEqual({ ok: false, error: "nothing moved for 0.2 s" });
    expect(await registry.ask({ method: "DELETE", path, scopes: [] })).toMatchObject({ status: 202 });
    expect(asked).toEqual(["GET", "DELETE"]);
    registry.close();
  });

  test("a registry keeps nothing of the requests that have ended, because a move makes millions of them", async () => {
    const registry = await openPod("source", (_, response) => void response.end('{"tags":[]}'));
    const signals = () => queryObjects(AbortSignal, { format: "count" });
    await listTags(registry, name);
    const before = signals();
    for (let asked = 0; asked < 300; asked += 1) await listTags(registry, name);
    expect(signals() - before).toBeLessThan(30);
    registry.close();
  });

  test("a registry that is closed in the middle of an answer asks no more", async () => {
    let asked = 0;
    const registry = await openPod("source", () => {
      asked += 1;
      registry.close();
    });
    await expect(listTags(registry, name)).rejects.toThrow('the work at Pod "source" has been given up');
    await expect(listTags(registry, name)).rejects.toThrow(CliFailure);
    expect(asked).toBe(1);
  });

  test("an answer that is 101 or that has no end of interim answers is an error", async () => {
    for (const text of [
      "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
      "HTTP/1.1 103 a\r\n\r\n".repeat(20),
    ]) {
      const registry = await openPod("source", ({ socket }) => void socket.write(text));
      expect(await registry.open({ path: "/v2/", scopes: [] })).toMatchObject({ ok: false });
      registry.close();
    }
  });
});
