import { mkdir } from "node:fs/promises";
import type http from "node:http";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { generateSealingKeys, seal } from "../../src/directory/seal.ts";
import { serve } from "../../src/local/http-server.ts";
import { readStackKv, withStores } from "../support/toy-stack.ts";
import { clients } from "./clients.ts";
import { succeed } from "./command.ts";
import { ctrIn } from "./ctr.ts";
import { buildImage, type Docker, dockerIn } from "./docker.ts";
import { makeImage } from "./images.ts";
import { skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

const ownToken = "a-token-of-the-hostile-gateway";
/** The password of the user `demo`, as it is written in a Basic header and in a form. */
const passwords = [Buffer.from("demo:demo").toString("base64"), "password=demo"];

type Seen = { readonly method: string; readonly path: string; readonly authorization: string; readonly body: string };

/** Starts a gateway that collects credentials by challenges. It accepts a PATCH, so that the client then sends a PUT without a body. */
async function startHostileGateway() {
  const seen: Seen[] = [];
  const server = await serve((request, response) => void answer(request, response));
  const url = `http://127.0.0.1:${server.port}`;
  async function answer(request: http.IncomingMessage, response: http.ServerResponse) {
    const { method = "", url: path = "", headers } = request;
    let body = "";
    try {
      for await (const chunk of request) body = (body + String(chunk)).slice(0, 10_000);
    } catch {
      // A client may break off a request: when one upload of ctr fails, ctr breaks off the others. We record what has come.
    }
    seen.push({ method, path, authorization: headers.authorization ?? "", body });
    if (path.startsWith("/token")) {
      response.writeHead(200, { "Content-Type": "application/json" });
      return response.end(JSON.stringify({ token: ownToken, access_token: ownToken, expires_in: 300 }));
    }
    if (method === "PATCH") {
      const bytes = Number(headers["content-length"] ?? body.length);
      return response.writeHead(202, { Location: url + path, Range: `0-${bytes - 1}` }).end();
    }
    // The realm is the gateway's own, but the service is the edge's, and the private repository is another Pod's.
    const challenge = `Bearer realm="${url}/token",service="registry-edge",scope="repository:acme/private:pull,push",error="insufficient_scope"`;
    return response.writeHead(401, { "WWW-Authenticate": challenge, "Content-Type": "application/json" }).end("{}");
  }
  return { url, seen, stop: () => server.stop() };
}

const careless = ["skopeo", "podman"] as const;
const careful = ["crane", "regctl"] as const;
const refusing = ["oras"] as const;

const tools = [...needs.registryPods, ...careless, ...careful, ...refusing, ...needs.dockerd, "ctr"];

describeWith(tools, "gateway of a hostile Pod's operator, by stock clients", () => {
  let hostile: Awaited<ReturnType<typeof startHostileGateway>>;
  let stage: Stage;
  let docker: Docker;

  beforeAll(async () => {
    hostile = await startHostileGateway();
    const sealingKeys = await generateSealingKeys();
    const bound = { pod: "pod-b", field: "gateway.key", scheme: "gateway", target: hostile.url };
    const key = await seal(Buffer.alloc(32, 1).toString("base64"), bound, sealingKeys.publicJwk);
    // With `scheme: pod`, the edge mounts nothing across Pods, so that every client has to push its layer.
    const stores = withStores("[{ scheme: pod }]", "[{ scheme: pod }]");
    const topology = (text: string) =>
      stores(text).replace(`\${POD_B_GATEWAY}`, JSON.stringify({ url: hostile.url, key }));
    stage = await openStage("registry", { sealingKeys, topology });
    docker = await dockerIn(stage.dir);
    await docker("login", "-u", "demo", "-p", "demo", stage.host);
  });
  afterEach(() => {
    hostile.seen.length = 0;
  });
  afterAll(async () => {
    await docker?.stop();
    await stage?.close();
    await hostile?.stop();
  });

  async function prepare(name: (typeof careless | typeof careful | typeof refusing)[number]) {
    const { host, dir } = stage;
    const layout = `${dir}/${name}/image`;
    await mkdir(layout, { recursive: true });
    await makeImage(layout, [50_000]);
    const client = clients[name](host, `${dir}/${name}`);
    await succeed(client.login("demo"), `${name} login`);
    if (name === "podman") {
      await skopeoIn(dir)("copy", "--dest-creds", "demo:demo", `oci:${layout}:image`, `docker://${host}/acme/seed:1`);
    }
    return client.push(layout, "acme/seed:1", `globex/by-${name}:1`);
  }

  it.each([...careless, ...refusing])("%s does not come to it, and its push completes on the edge", async (name) => {
    await succeed(prepare(name), `${name} push`);
    expect(hostile.seen).toEqual([]);
  });

  it.each([...careful, "docker", "ctr"] as const)("%s gives it nothing", async (name) => {
    const pushed = await attempt(name);
    expect(pushed.code).not.toBe(0);
    expect(hostile.seen.filter(({ path }) => path.startsWith("/v2/globex/"))).not.toEqual([]);
    for (const { authorization, path, body } of hostile.seen) {
      // Some clients ask the gateway's own realm for a token, but they send no user and no password there.
      expect(["", `Bearer ${ownToken}`]).toContain(authorization);
      for (const password of passwords) expect(path + body).not.toContain(password);
    }
  });

  async function attempt(name: (typeof careful)[number] | "docker" | "ctr") {
    const { host, dir } = stage;
    if (name !== "docker" && name !== "ctr") return prepare(name);
    const image = `${host}/globex/by-${name}:1`;
    if (name === "docker") {
      await buildImage(docker, image, { dir, layerSizes: [50_000] });
      return docker.attempt("push", image);
    }
    const layout = `${dir}/ctr`;
    await mkdir(layout, { recursive: true });
    await makeImage(layout, [50_000]);
    const seeded = `docker://${host}/acme/seed-ctr:1`;
    await skopeoIn(dir)("copy", "--dest-creds", "demo:demo", `oci:${layout}:image`, seeded);
    const ctr = ctrIn(docker, host, "containerd 2");
    await ctr.pull("acme/seed-ctr:1");
    return ctr.attemptPush(`${host}/acme/seed-ctr:1`, "globex/by-ctr:1");
  }

  it("if the record called it the fleet's, skopeo would give it another Pod's token", async () => {
    const { stack } = stage;
    const record = (await readStackKv(stack, ["pod/pod-b"])).get("pod/pod-b") ?? "";
    await stack.putKv("pod/pod-b", record.replace(/"operator":"pod"/, '"operator":"fleet"'));
    try {
      await stack.restartEdge("empty");
      expect((await prepare("skopeo")).code).not.toBe(0);
      const tokens = hostile.seen.map(({ authorization }) => authorization);
      expect(tokens.join("\n")).toMatch(/^Bearer pods\.v1\.\S*pod-a\//m);
    } finally {
      await stack.putKv("pod/pod-b", record);
      await stack.restartEdge("empty");
    }
  });
});
