/** A Pod sends near clients to its S3 server, and all others to a CDN: nginx with secure_link on the same bucket. */
import { symlink } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { generateSealingKeys, seal } from "../../src/directory/seal.ts";
import { createClient } from "../support/client.ts";
import { withStores } from "../support/toy-stack.ts";
import { makeImage } from "./images.ts";
import { startNginx } from "./signing-servers.ts";
import { skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

const repository = "acme/public/near-and-far";
const layers = 3;
const locations = `
  location / {
    secure_link $arg_md5,$arg_expires;
    secure_link_md5 "$secure_link_expires$uri a shared secret";
    if ($secure_link != "1") { return 403; }
  }`;

/** In a topology file, `${NAME}` is replaced by a value of the running stack. */
const placeholder = (name: string) => `\${${name}}`;

describeWith([...needs.skopeo, ...needs.nginx], "Pod with a near and a far store", () => {
  let cdn: Awaited<ReturnType<typeof startNginx>>;
  let stage: Stage;
  let baseUrl = "";
  const image = () => `${stage.host}/${repository}:1`;

  beforeAll(async () => {
    cdn = await startNginx(locations, [], {});
    // If a redirect leads to the edge's own host name, on any port, many clients send their token there. So the CDN gets another host name.
    baseUrl = cdn.origin.replace("127.0.0.1", "localhost");
    const sealingKeys = await generateSealingKeys();
    const place = { pod: "pod-a", field: "blobs.stores.1.credentials", scheme: "nginx", target: baseUrl };
    const near = {
      scheme: "s3",
      when: { cidrs: ["192.0.2.0/24"] },
      endpoint: placeholder("POD_A_STORAGE"),
      region: "us-east-1",
      bucket: "pod-a",
      credentials: placeholder("POD_A_STORAGE_CREDENTIALS"),
    };
    const credentials = await seal('{"secret":"a shared secret"}', place, sealingKeys.publicJwk);
    const far = { scheme: "nginx", baseUrl, prefix: "bucket", credentials };
    const topology = withStores(JSON.stringify([near, far]), "[]");
    stage = await openStage("registry", { sealingKeys, topology });
    await symlink(`${stage.dir}/state/pods/pod-a/buckets/pod-a`, `${cdn.root}/bucket`);
    await makeImage(`${stage.dir}/image`, Array(layers).fill(50_000));
    await skopeoIn(stage.dir)(
      "copy",
      "--dest-creds",
      "demo:demo",
      `oci:${stage.dir}/image:image`,
      `docker://${image()}`,
    );
  });
  afterAll(async () => {
    await stage?.close();
    await cdn?.stop();
  });

  async function blobUrls(headers: Readonly<Record<string, string>>): Promise<readonly URL[]> {
    const client = createClient(stage.stack.edge);
    const token = await client.token([`repository:${repository}:pull`], null);
    const manifest = await client.get(`/v2/${repository}/manifests/1`, token);
    const { layers: blobs } = (await manifest.json()) as { layers: { digest: string }[] };
    const answers = blobs.map(({ digest }) => client.get(`/v2/${repository}/blobs/${digest}`, token, { headers }));
    return (await Promise.all(answers)).map((answer) => new URL(answer.headers.get("Location") ?? ""));
  }

  test("skopeo pulls from the CDN, and the S3 server gets no request", async () => {
    stage.stack.clearSeen();
    await skopeoIn(stage.dir)("copy", `docker://${image()}`, `oci:${stage.dir}/pulled:image`);
    await stage.stack.edgeSettled();
    const redirects = stage.stack.edgeSeen().filter(({ outcome }) => outcome === "redirected");
    // The image has its layers and a config.
    expect(redirects.map(({ status }) => status)).toEqual(Array(layers + 1).fill(307));
    expect(stage.stack.seen("pod-a", "storage")).toEqual([]);
  });

  test("a client of the near block gets its blobs from S3", async () => {
    const urls = await blobUrls({ "CF-Connecting-IP": "192.0.2.9" });
    expect(urls.map(({ searchParams }) => searchParams.has("X-Amz-Signature"))).toEqual(Array(layers).fill(true));
    for (const url of urls) expect((await fetch(url)).status).toBe(200);
  });

  test("the CDN refuses one blob's signature for another blob", async () => {
    const [one, other] = await blobUrls({});
    if (one === undefined || other === undefined) expect.fail("no layers");
    expect([one.origin, (await fetch(one)).status]).toEqual([baseUrl, 200]);
    expect((await fetch(`${other.origin}${other.pathname}${one.search}`)).status).toBe(403);
  });
});
