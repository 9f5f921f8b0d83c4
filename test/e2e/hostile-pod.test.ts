import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { privateImage } from "../../src/local/images.ts";
import { createClient } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { type Ended, run } from "./command.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, realPods, toolPath } from "./tools.ts";

const { digest } = privateImage("acme").manifest;
const victim = `/v2/acme/private/manifests/${digest}`;
const taken = "/v2/acme/private/manifests/taken";

type Client = {
  login(): Promise<Ended>;
  remove(image: string): Promise<Ended>;
  copy(from: string, to: string): Promise<Ended>;
};

/** If a write is redirected, these two clients send their user's credentials to the new URL. */
const clients = {
  crane: (host, home) => {
    const attempt = (...args: readonly string[]) =>
      run(toolPath("crane"), ["--insecure", ...args], { HOME: home, DOCKER_CONFIG: `${home}/crane` });
    return {
      login: () => attempt("auth", "login", "--username", "demo", "--password", "demo", host),
      remove: (image) => attempt("delete", `${host}/${image}`),
      copy: (from, to) => attempt("copy", `${host}/${from}`, `${host}/${to}`),
    };
  },
  regctl: (host, home) => {
    const attempt = (...args: readonly string[]) =>
      run(toolPath("regctl"), args, { HOME: home, REGCTL_CONFIG: `${home}/regctl.json` });
    return {
      login: async () => {
        await attempt("registry", "set", "--tls", "disabled", host);
        return attempt("registry", "login", host, "--user", "demo", "--pass", "demo");
      },
      remove: (image) => attempt("manifest", "delete", `${host}/${image}`),
      copy: (from, to) => attempt("image", "copy", `${host}/${from}`, `${host}/${to}`),
    };
  },
} as const satisfies Readonly<Record<string, (host: string, home: string) => Client>>;

const hostile = await startOddPod();

describe.each(realPods)("hostile Pod next to a %s Pod", (kind, tools) => {
  describeWith([...tools, ...Object.keys(clients)], "which redirects writes to its neighbour", () => {
    let stage: Stage;
    beforeAll(async () => {
      stage = await openStage(kind, { topology: asPodB(hostile) });
      // The hostile Pod has every blob and no manifest, so a client that copies sends only the manifest.
      hostile.answer((response, { method, path }) => {
        if (method === "DELETE") response.writeHead(307, { Location: victim }).end();
        else if (method === "PUT") response.writeHead(307, { Location: taken }).end();
        else if (path.includes("/blobs/")) response.writeHead(200, { "Content-Length": 2 }).end("{}");
        else response.writeHead(404).end();
      });
    });
    afterAll(() => stage?.close());

    it.each(Object.keys(clients) as (keyof typeof clients)[])("%s changes nothing at the neighbour", async (name) => {
      const { stack, dir, host } = stage;
      const client = clients[name](host, dir);
      expect((await client.login()).code).toBe(0);
      stack.clearSeen();
      const attempts = [
        await client.remove(`globex/evil@${digest}`),
        await client.copy("acme/private:1", "globex/evil:1"),
      ];
      expect(attempts.map(({ stderr }) => stderr)).toEqual(
        Array(2).fill(expect.stringMatching(/502|answered wrongly/)),
      );
      expect(attempts.map(({ code }) => code)).not.toContain(0);
      const lines = hostile.seen.map(({ method, path }) => `${method} ${path}`);
      expect(lines).toEqual(
        expect.arrayContaining([`DELETE /v2/globex/evil/manifests/${digest}`, "PUT /v2/globex/evil/manifests/1"]),
      );
      const methods = stack.seen("pod-a", "registry").map(({ method }) => method);
      expect(methods.filter((method) => method !== "GET" && method !== "HEAD")).toEqual([]);
      const token = await createClient(stack.edge).token(["repository:acme/private:pull"]);
      const statuses = [victim, taken].map(async (path) => (await createClient(stack.edge).get(path, token)).status);
      expect(await Promise.all(statuses)).toEqual([200, 404]);
    });
  });
});
