import { mkdir, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { answerFormsToo, asTokenServices, startOddPod } from "../support/odd-pod.ts";
import { run, succeed } from "./command.ts";
import { makeImage } from "./images.ts";
import { skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { expectPodsApart } from "./taps.ts";
import { describeWith, toolPath } from "./tools.ts";

const tokenServices = { "pod-a": await startOddPod(), "pod-b": await startOddPod() };

/** Clients send an identity token by POST. The token services here accept `user:password` as an identity token. */
describeWith(["skopeo", "podman", "crane", "oras"], "client with an identity token", () => {
  let stage: Stage;
  let auth = "";
  beforeAll(async () => {
    stage = await openStage("toy", { topology: asTokenServices(tokenServices["pod-a"], tokenServices["pod-b"]) });
    await makeImage(`${stage.dir}/image`, [100_000]);
    for (const name of ["acme/app:1", "globex/app:1"]) {
      takeForms();
      const to = `docker://${stage.host}/${name}`;
      await skopeoIn(stage.dir)("copy", "--dest-creds", "demo:demo", `oci:${stage.dir}/image:image`, to);
    }
    const home = `${stage.dir}/docker`;
    await mkdir(home, { recursive: true });
    auth = `${home}/config.json`;
    const entry = { auth: btoa("00000000-0000-0000-0000-000000000000:"), identitytoken: "demo:demo" };
    await writeFile(auth, JSON.stringify({ auths: { [stage.host]: entry } }));
  });
  beforeEach(() => takeForms());
  afterAll(() => stage?.close());

  function takeForms(): void {
    for (const pod of ["pod-a", "pod-b"] as const) {
      answerFormsToo(tokenServices[pod], stage.stack.pods[pod].token.direct);
    }
  }

  const images = () => ["acme/app:1", "globex/app:1"].map((name) => `${stage.host}/${name}`);
  const env = () => ({ HOME: stage.dir, DOCKER_CONFIG: `${stage.dir}/docker`, REGISTRY_AUTH_FILE: auth });

  it.each([
    ["skopeo", (image: string) => ["--insecure-policy", "inspect", "--tls-verify=false", `docker://${image}`]],
    [
      "podman",
      (image: string) => [
        "--root",
        `${stage.dir}/store`,
        "--runroot",
        `${stage.dir}/run`,
        "--storage-driver",
        "vfs",
        "pull",
        "--tls-verify=false",
        image,
      ],
    ],
    ["crane", (image: string) => ["--insecure", "manifest", image]],
    ["oras", (image: string) => ["manifest", "fetch", "--plain-http", "--registry-config", auth, image]],
  ] as const)("%s gets its tokens by POST from both Pods", async (tool, args) => {
    for (const image of images()) await succeed(run(toolPath(tool), args(image), env()), tool);
    for (const pod of ["pod-a", "pod-b"] as const) {
      const posts = tokenServices[pod].seen.filter(({ method }) => method === "POST");
      expect(posts.length, pod).toBeGreaterThan(0);
      for (const { headers, body } of posts) {
        const form = new URLSearchParams(body);
        expect([form.get("service"), form.get("refresh_token"), headers.authorization]).toEqual([
          `${pod}-registry`,
          "demo:demo",
          undefined,
        ]);
      }
    }
    await expectPodsApart(stage.stack);
    stage.stack.clearSeen();
  });
});
