import { describe, expect, test } from "vitest";
import { createClient, sha256 } from "../support/client.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";
import { carelessAgents } from "../support/user-agents.ts";

const stack = useStack({ gateways: "fleet", bodyLimitBytes: 100_000 });

/** Longer than the bodies that the CDN in front of the edge accepts. */
const layer = new Uint8Array(Buffer.alloc(250_000, "a large layer "));

const agents = {
  docker:
    "docker/20.10.24 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0 os/linux arch/amd64 UpstreamClient(Docker-Client/20.10.24)",
  containerd: "containerd/2.0.0",
  crane: "crane/v0.21.9 go-containerregistry/v0.21.9",
  oras: "oras/1.3.4",
  helm: "Helm/4.2.1",
};

async function begin(repository: string, userAgent: string, scopes: readonly string[] = []) {
  const client = createClient(stack.current.edge);
  const token = await client.token([`repository:${repository}:pull,push`, ...scopes]);
  stack.current.clearSeen();
  const headers = { "User-Agent": userAgent };
  const started = await client.get(`/v2/${repository}/blobs/uploads/`, token, { method: "POST", headers });
  return { client, token, headers, status: started.status, location: started.headers.get("Location") ?? "" };
}

const gatewayUrl = (pod: "pod-a" | "pod-b") => stack.current.pods[pod].gateway?.url ?? "no gateway";

const withDigest = (location: string, digest: string): URL => {
  const url = new URL(location, stack.current.edge);
  // Go's `url.Values` sorts the parameters, so clients in Go send them in this order.
  url.searchParams.set("digest", digest);
  url.searchParams.sort();
  return url;
};

const edgeBytes = async () => {
  await stack.current.edgeSettled();
  return stack.current.edgeSeen().map(({ requestBytes }) => requestBytes);
};

describe("upload of a Pod with a gateway", () => {
  test("a layer over the CDN's limit is pushed by PATCH to the gateway and a closing PUT to the edge, as docker does", async () => {
    const { client, token, headers, status, location } = await begin("globex/patched", agents.docker);
    expect([status, location]).toEqual([
      202,
      expect.stringContaining(`${gatewayUrl("pod-b")}/v2/globex/patched/blobs/uploads/`),
    ]);
    const body = new Blob([layer]).stream();
    const patched = await fetch(location, { method: "PATCH", body, duplex: "half", headers } as RequestInit);
    expect([patched.status, patched.headers.get("Range")]).toEqual([202, `0-${layer.byteLength - 1}`]);
    const next = patched.headers.get("Location") ?? "";
    expect(next).toMatch(new RegExp(`^${stack.current.edge}/v2/globex/patched/blobs/uploads/[^?]+\\?_state=.*_pod=`));
    const digest = await sha256(layer);
    const { pathname, search } = withDigest(next, digest);
    const done = await client.get(pathname + search, token, { method: "PUT", headers });
    expect([done.status, done.headers.get("Location")]).toEqual([201, `/v2/globex/patched/blobs/${digest}`]);
    expect((await client.get(`/v2/globex/patched/blobs/${digest}`, token, { method: "HEAD" })).status).toBe(307);
    expect(await edgeBytes()).toEqual([0, 0, 0]);
    expect(stack.current.seen("pod-b", "gateway")).toMatchObject([
      { method: "PATCH", status: 202, requestBytes: layer.byteLength, authorization: "none" },
    ]);
    expect(
      stack.current
        .seen("pod-b", "registry")
        .map(({ path }) => path)
        .join(),
    ).not.toMatch(/_grant|_pod/);
  });

  test("a layer over the CDN's limit is pushed by one PUT to the gateway, as containerd does", async () => {
    const { client, token, headers, location } = await begin("acme/put", agents.containerd);
    const digest = await sha256(layer);
    const done = await fetch(withDigest(location, digest), { method: "PUT", body: layer, headers });
    expect([done.status, done.headers.get("Location")]).toEqual([
      201,
      `${stack.current.edge}/v2/acme/put/blobs/${digest}`,
    ]);
    expect(await edgeBytes()).toEqual([0]);
    const blob = await client.get(`/v2/acme/put/blobs/${digest}`, token);
    expect(blob.status).toBe(307);
    const stored = await fetch(blob.headers.get("Location") ?? "");
    expect(await sha256(new Uint8Array(await stored.arrayBuffer()))).toBe(digest);
  });

  test.each([
    ["read-only", 403],
    ["down", 503],
  ])(
    "a layer that began before its Pod was %s still goes through the gateway, and its manifest gets %d",
    async (state, status) => {
      const { client, token, headers, location } = await begin(`acme/${state}`, agents.containerd);
      const record = (await readStackKv(stack.current, ["pod/pod-a"])).get("pod/pod-a") ?? "";
      await stack.current.putKv("pod/pod-a", JSON.stringify({ ...JSON.parse(record), state, reason: "Maintenance." }));
      await stack.current.restartEdge();
      try {
        const done = await fetch(withDigest(location, await sha256(layer)), { method: "PUT", body: layer, headers });
        expect(done.status).toBe(201);
        const path = `/v2/acme/${state}/manifests/1`;
        expect((await client.get(path, token, { method: "PUT", body: "{}" })).status).toBe(status);
      } finally {
        await stack.current.putKv("pod/pod-a", record);
        await stack.current.restartEdge();
      }
    },
  );

  test("the location has no state or token of the registry in clear, and needs no Authorization", async () => {
    const { location } = await begin("acme/opaque", agents.crane);
    const { origin, pathname, searchParams } = new URL(location);
    expect(origin).toBe(gatewayUrl("pod-a"));
    expect([...searchParams.keys()]).toEqual(["_grant"]);
    expect(pathname).toMatch(/^\/v2\/acme\/opaque\/blobs\/uploads\/[\w-]+$/);
    expect((await fetch(location)).status).toBe(204);
    await stack.current.edgeSettled();
    expect(stack.current.edgeLines().join()).not.toContain("_grant=");
  });

  test.each([
    ["oras", agents.oras],
    ["helm", agents.helm],
    ["an oras-go tool", "oras-go"],
    ["zarf", "zarf/v0.60.0"],
    ["falcoctl", "falcoctl"],
    ["a Go program that sets no User-Agent", "Go-http-client/2.0"],
  ])("%s refuses another host, so it gets a location on the edge and the limit of the edge", async (_name, agent) => {
    const { client, token, headers, location } = await begin("acme/stays", agent);
    expect(location).toMatch(/^\/v2\/acme\/stays\/blobs\/uploads\/.*_pod=/);
    const small = layer.slice(0, 50_000);
    const digest = await sha256(small);
    const put = (body: Uint8Array<ArrayBuffer>) => {
      const { pathname, search } = withDigest(location, digest);
      // The CDN closes a connection after it has refused a body. So each of these requests has a connection of its own.
      return client.get(pathname + search, token, {
        method: "PUT",
        body,
        headers: { ...headers, Connection: "close" },
      });
    };
    const refused = await put(layer);
    expect([refused.status, refused.headers.get("Content-Type")]).toEqual([413, "text/html"]);
    expect(await refused.text()).toContain("<center>cloudflare</center>");
    expect((await put(small)).status).toBe(201);
  });

  test.each(carelessAgents)(
    "%s may give another host its credentials, and goes to a gateway that the fleet's operator runs",
    async (_, agent) => {
      const { location } = await begin("globex/careless", agent, ["repository:acme/private:pull"]);
      expect(location).toContain(`${gatewayUrl("pod-b")}/v2/globex/careless/blobs/uploads/`);
    },
  );

  test("a grant is good at its own Pod's gateway only, and nowhere on the edge", async () => {
    const { location } = await begin("acme/here", agents.docker);
    const { pathname, search } = new URL(location);
    const elsewhere = await fetch(gatewayUrl("pod-b") + pathname + search, { method: "PATCH", body: "x" });
    expect([elsewhere.status, await elsewhere.json()]).toMatchObject([
      404,
      { errors: [{ code: "BLOB_UPLOAD_UNKNOWN" }] },
    ]);
    const onEdge = await fetch(stack.current.edge + pathname + search, { method: "PATCH", body: "x" });
    expect(onEdge.status).toBe(401);
    expect(stack.current.seen("pod-b", "registry")).toEqual([]);
  });

  test("a key that was sealed for another gateway is not opened: an upload gets 500, and the log says where the key is", async () => {
    const key = "pod/pod-a";
    const record = (await readStackKv(stack.current, [key])).get(key) ?? "";
    const moved = record.replace(gatewayUrl("pod-a"), "http://127.0.0.1:1");
    await stack.current.putKv(key, moved);
    try {
      await stack.current.restartEdge("empty");
      const { status, location } = await begin("acme/misconfigured", agents.docker);
      expect([status, location]).toEqual([500, ""]);
      await stack.current.edgeSettled();
      expect(stack.current.edgeLines().join()).toContain('field \\"gateway.key\\", was sealed for another target');
    } finally {
      await stack.current.putKv(key, record);
      await stack.current.restartEdge("empty");
    }
  });

  test("the control server plays faults of a gateway, and shows what it has seen", async () => {
    const { location } = await begin("acme/faults", agents.docker);
    const { control } = stack.current;
    const setFault = (mode: string) =>
      fetch(`${control}/faults/pod-a/gateway`, { method: "PUT", body: JSON.stringify({ mode }) });
    expect((await setFault("refuse")).status).toBe(204);
    await expect(fetch(location)).rejects.toThrow();
    expect((await setFault("none")).status).toBe(204);
    expect((await fetch(location)).status).toBe(204);
    const seen = await (await fetch(`${control}/pod-a/gateway/-/seen`)).json();
    expect(seen).toMatchObject([{ method: "GET", status: 204 }]);
  });

  test("after the gateway crashes in the middle of an upload, a new upload completes and there is no half blob", async () => {
    const { client, token, headers, location } = await begin("acme/crash", agents.docker);
    const stopped = Promise.withResolvers<void>();
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (sent >= 100_000) await stopped.promise;
        sent += 10_000;
        controller.enqueue(layer.slice(sent - 10_000, sent));
        if (sent >= layer.byteLength) controller.close();
      },
    });
    const patching = fetch(location, { method: "PATCH", body, duplex: "half", headers } as RequestInit).then(
      ({ status }) => status,
      () => "broken",
    );
    await expect.poll(() => stack.current.seen("pod-a", "registry").at(-1)?.requestBytes ?? 0).toBeGreaterThan(50_000);
    await stack.current.restartGateway("pod-a");
    stopped.resolve();
    expect(await patching).toBe("broken");
    const digest = await sha256(layer);
    expect((await client.get(`/v2/acme/crash/blobs/${digest}`, token, { method: "HEAD" })).status).toBe(404);
    const again = await begin("acme/crash", agents.docker);
    const done = await fetch(withDigest(again.location, digest), { method: "PUT", body: layer, headers });
    expect(done.status).toBe(201);
  });
});
