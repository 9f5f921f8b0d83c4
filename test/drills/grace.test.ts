import { describe, expect, test } from "vitest";
import type { Fault } from "../../src/local/taps/faults.ts";
import { sha256 } from "../support/client.ts";
import {
  askToken,
  duringOutage,
  grant,
  isStale,
  type Login,
  pull,
  pulledStatuses,
  pullOf,
  setFault,
  setUp,
  statusDuringOutage,
} from "../support/grace.ts";
import { manifestText, manifestType, pushImage, putManifest } from "../support/image.ts";
import { pullerOf } from "../support/pull.ts";
import { endFault, onOneRegistry, readStackKv, useStack, withOutage } from "../support/toy-stack.ts";
import { podIds } from "../support/use-groups.ts";
import { moveIn } from "../support/use-moves.ts";

const absent = `sha256:${"0".repeat(64)}`;

describe("pull while the token service is down", () => {
  const stack = useStack({ seedImages: false });

  test.each<[string, Fault]>([
    ["refuses connections", { mode: "refuse" }],
    ["breaks off each answer", { mode: "reset" }],
    ["answers 500", { mode: "status", status: 500 }],
    ["answers 503", { mode: "status", status: 503 }],
  ])(
    "if the token service %s, a user who was granted an image pulls it whole without an earlier token, and no Pod is called",
    async (_, fault) => {
      const name = `${fault.mode}-${"status" in fault ? fault.status : 0}`;
      const secret = await setUp(stack.current, `acme/${name}`, ["demo", "reader"]);
      const open = await setUp(stack.current, `acme/public/${name}`, [null]);
      const pulls = await duringOutage(
        stack.current,
        async () => [
          await pull(stack.current, `acme/${name}`, secret, "demo"),
          await pull(stack.current, `acme/${name}`, secret, "reader"),
          await pull(stack.current, `acme/public/${name}`, open, null),
        ],
        fault,
      );
      for (const { answers } of pulls) {
        expect(answers.map(({ status }) => status)).toEqual(pulledStatuses);
        expect(answers.every(isStale)).toBe(true);
      }
      expect(stack.current.seen("pod-a", "registry")).toEqual([]);
      expect(stack.current.seen("pod-b", "registry")).toEqual([]);
      const after = await pull(stack.current, `acme/${name}`, secret, "demo");
      expect(after.answers.map(({ status }) => status)).toEqual(pulledStatuses);
      expect(after.answers.filter(isStale)).toEqual([]);
    },
  );

  test("a token service that never answers: pulls go on before docker gives up after 15 s, at once after three of them, and the log says by whose grant", {
    timeout: 60_000,
  }, async () => {
    const image = await setUp(stack.current, "acme/hangs");
    const pullTimed = async () => {
      const startedAtMs = performance.now();
      const { answers } = await pull(stack.current, "acme/hangs", image, "demo");
      expect(answers.map(({ status }) => status)).toEqual(pulledStatuses);
      return performance.now() - startedAtMs;
    };
    await duringOutage(
      stack.current,
      async () => {
        const first = await Promise.all([pullTimed(), pullTimed(), pullTimed()]);
        expect(Math.max(...first)).toBeLessThan(14_000);
        expect(await pullTimed()).toBeLessThan(2_000);
        await stack.current.edgeSettled();
        const graced = stack.current.edgeLines().filter((line) => line.includes('"grace":"pod-a"'));
        expect(graced).toHaveLength(4 * (1 + pulledStatuses.length));
        expect(graced.join("\n")).not.toMatch(/ZGVtbzpkZW1v|edge\.ey/);
      },
      { mode: "hang" },
    );
  });

  test("a token service that is only slow is not down, so its own token comes late", async () => {
    const image = await setUp(stack.current, "acme/slow");
    const { answers } = await duringOutage(stack.current, () => pull(stack.current, "acme/slow", image, "demo"), {
      mode: "delay",
      ms: 1_500,
    });
    expect(answers.map(({ status }) => status)).toEqual(pulledStatuses);
    expect(answers.filter(isStale)).toEqual([]);
  });

  test.each([400, 404, 429])("a token service that answers %d is not down, so its answer passes", async (status) => {
    await setUp(stack.current, `acme/answers-${status}`);
    const seen = await duringOutage(stack.current, () => askToken(stack.current, [pullOf(`acme/answers-${status}`)]), {
      mode: "status",
      status,
    });
    expect(seen.status).toBe(status);
  });

  test("if the registry is down too, the image is pulled whole", async () => {
    const image = await setUp(stack.current, "acme/both");
    await stack.current.setFault("pod-a", "registry", { mode: "refuse" });
    const { answers } = await duringOutage(stack.current, () => pull(stack.current, "acme/both", image, "demo"));
    await stack.current.setFault("pod-a", "registry", { mode: "none" });
    expect(answers.map(({ status }) => status)).toEqual(pulledStatuses);
  });

  test("another isolate of the location grants as well", async () => {
    const image = await setUp(stack.current, "acme/elsewhere");
    await stack.current.restartEdge("kept");
    const { answers } = await duringOutage(stack.current, () => pull(stack.current, "acme/elsewhere", image, "demo"));
    expect(answers.map(({ status }) => status)).toEqual(pulledStatuses);
  });

  test("a form with the same user name and password is granted like the header that the token service had granted", async () => {
    await setUp(stack.current, "acme/by-form");
    const status = await duringOutage(stack.current, async () => {
      const form = { grant_type: "password", service: "registry-edge", client_id: "containerd-client" };
      const body = new URLSearchParams({
        ...form,
        scope: pullOf("acme/by-form"),
        ...{ username: "demo", password: "demo" },
      });
      return (await fetch(`${stack.current.edge}/jwt/auth`, { method: "POST", body })).status;
    });
    expect(status).toBe(200);
  });

  test("a request that was never granted gets 503: by a stranger, by another user, with a wrong password, for another repository, for a login", async () => {
    await setUp(stack.current, "acme/own", ["demo"]);
    await setUp(stack.current, "acme/public/own", [null]);
    const asked: readonly [string, Login][] = [
      [pullOf("acme/own"), null],
      [pullOf("acme/own"), "reader"],
      [pullOf("acme/own"), "demo:other"],
      [pullOf("acme/own"), "demo:dem"],
      [pullOf("acme/own"), "dem:o:demo"],
      [pullOf("acme/public/own"), "reader"],
      [pullOf("acme/ow"), "demo"],
      [pullOf("acme/own/below"), "demo"],
      [pullOf("globex/own"), null],
      ["registry:catalog:*", "demo"],
    ];
    await setFault(stack.current, { mode: "refuse" }, "pod-b");
    const statuses = await duringOutage(stack.current, () =>
      Promise.all(asked.map(async ([scope, user]) => (await askToken(stack.current, [scope], user)).status)),
    );
    await setFault(stack.current, { mode: "none" }, "pod-b");
    expect(statuses).toEqual(asked.map(() => 503));
    expect(await duringOutage(stack.current, async () => (await askToken(stack.current, [])).status)).toBe(503);
  });

  test("of several repositories only those that were granted are granted", async () => {
    await setUp(stack.current, "acme/first");
    await pushImage(stack.current, "acme/second", 1);
    const { token } = await duringOutage(stack.current, () =>
      askToken(stack.current, [`repository:acme/never:pull`, pullOf("acme/first")]),
    );
    expect((await pullerOf(stack.current, "acme/first", token)("manifests/1")).status).toBe(200);
    expect((await pullerOf(stack.current, "acme/never", token)("manifests/1")).status).toBe(401);
    expect((await pullerOf(stack.current, "acme/second", token)("manifests/1")).status).toBe(401);
  });

  test("a push is refused with 503 in a second, and with a pull's grant nothing can be written", async () => {
    const { digest } = await setUp(stack.current, "acme/pushed");
    await duringOutage(stack.current, async () => {
      const startedAtMs = performance.now();
      for (const actions of ["pull,push", "push", "delete", "*"]) {
        const refused = await askToken(stack.current, [`repository:acme/pushed:${actions}`]);
        expect([refused.status, refused.headers["retry-after"]]).toEqual([503, "5"]);
      }
      expect(performance.now() - startedAtMs).toBeLessThan(4_000);
      const { token } = await askToken(stack.current, [pullOf("acme/pushed")]);
      const ask = pullerOf(stack.current, "acme/pushed", token);
      const writes = [
        await ask("blobs/uploads/", { method: "POST" }),
        await ask(`manifests/${digest}`, { method: "DELETE" }),
        await ask("manifests/2", { method: "PUT", body: "{}", headers: { "Content-Type": manifestType } }),
      ];
      expect(writes.map(({ status }) => status)).toEqual([401, 401, 401]);
      for (const { headers } of writes) expect(headers["www-authenticate"]).toContain('error="insufficient_scope"');
    });
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
  });

  test("what is not held gets 503 with Retry-After, and the Pod is not called for it", async () => {
    const { digest, blobs } = await setUp(stack.current, "acme/partly");
    const other = await pushImage(stack.current, "acme/partly", 1);
    const text = manifestText(blobs.slice(1));
    expect((await putManifest(stack.current, "acme/partly", "unseen", text)).status).toBe(201);
    await duringOutage(stack.current, async () => {
      const { token } = await askToken(stack.current, [pullOf("acme/partly")]);
      const ask = pullerOf(stack.current, "acme/partly", token);
      const answers = [
        ...["manifests/2", `manifests/${absent}`, `blobs/${absent}`, "tags/list", `referrers/${digest}`],
        ...["manifests/1?ns=docker.io", "blobs/uploads/some-upload"],
      ].map((path) => ask(path));
      answers.push(ask("manifests/1", { headers: { Accept: "*/*" } }), ask(`blobs/${absent}`, { method: "HEAD" }));
      for (const { status, headers } of await Promise.all(answers)) {
        expect([status, headers["retry-after"], headers["warning"]]).toEqual([503, "5", undefined]);
      }
      // These two manifests were pushed through the edge and not pulled. The edge has kept them from the push.
      expect((await ask("manifests/unseen")).text).toBe(text);
      expect((await ask(`manifests/${other.digest}`)).status).toBe(200);
    });
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
  });

  test("a block wins over a grant", async () => {
    const { digest } = await setUp(stack.current, "acme/blocked");
    const { token } = await duringOutage(stack.current, () => askToken(stack.current, [pullOf("acme/blocked")]));
    const before = (await readStackKv(stack.current, ["blocks"])).get("blocks");
    await stack.current.putKv("blocks", JSON.stringify({ v: 1, revision: 1, blocks: { [digest]: "Withdrawn." } }));
    await stack.current.restartEdge("kept");
    const ask = pullerOf(stack.current, "acme/blocked", token);
    const answers = await Promise.all([ask("manifests/1"), ask(`manifests/${digest}`)]);
    await (before == null ? stack.current.deleteKv("blocks") : stack.current.putKv("blocks", before));
    await stack.current.restartEdge("kept");
    expect(answers.map(({ status }) => status)).toEqual([403, 403]);
  });
});

describe("bundle for two Pods whose one token service is down", () => {
  const scopes = [pullOf("acme/joined"), pullOf("globex/joined")];

  describe("with grace", () => {
    const stack = useStack({ seedImages: false });

    test("it pulls from both Pods, and from the one that is down what is held", async () => {
      const ofA = await setUp(stack.current, "acme/joined");
      await pushImage(stack.current, "globex/joined", 1);
      const { token, expiresIn } = await duringOutage(stack.current, () => askToken(stack.current, scopes));
      expect(token).toMatch(/^pods\.v1\.pod-a\/edge\.[^~]+~pod-b\/[^~]+$/);
      expect(expiresIn).toBeGreaterThan(290);
      const held = await pullerOf(stack.current, "acme/joined", token)(`manifests/${ofA.digest}`);
      expect([held.status, isStale(held)]).toEqual([200, true]);
      const fresh = await pullerOf(stack.current, "globex/joined", token)("manifests/1");
      expect([fresh.status, isStale(fresh)]).toEqual([200, false]);
      expect(stack.current.seen("pod-a", "registry")).toEqual([]);
      const sent = stack.current.seen("pod-b", "registry").map(({ authorizationSha256 }) => authorizationSha256);
      const ownPart = `Bearer ${token.split("~pod-b/")[1]}`;
      expect(sent).toEqual([(await sha256(new Uint8Array(Buffer.from(ownPart)))).replace("sha256:", "")]);
    });

    test("a token service that hangs delays the other's part by three seconds, and what it granted before is in the token", async () => {
      await grant(stack.current, "acme/joined", "demo");
      const startedAtMs = performance.now();
      const { token } = await duringOutage(stack.current, () => askToken(stack.current, scopes), { mode: "hang" });
      expect(performance.now() - startedAtMs).toBeLessThan(5_000);
      expect(token).toMatch(/^pods\.v1\.pod-a\/edge\.[^~]+~pod-b\/[^~]+$/);
    });
  });

  describe("whose other token service is slow", () => {
    const slow = useStack({ seedImages: false });

    test("it is waited for, because the edge's own grant is not a Pod's answer", async () => {
      await grant(slow.current, "acme/joined", "demo");
      await setFault(slow.current, { mode: "delay", ms: 4_000 }, "pod-b");
      const { token } = await duringOutage(slow.current, () => askToken(slow.current, scopes));
      await setFault(slow.current, { mode: "none" }, "pod-b");
      expect(token).toMatch(/^pods\.v1\.pod-a\/edge\.[^~]+~pod-b\/[^~]+$/);
    });
  });

  describe("without grace", () => {
    const stack = useStack({ seedImages: false, topology: withOutage("graceSeconds: 0") });

    test("it pulls from the other Pod", async () => {
      await pushImage(stack.current, "globex/joined", 1);
      const { token, expiresIn } = await duringOutage(stack.current, () => askToken(stack.current, scopes));
      expect(token).toMatch(/^pods\.v1\.pod-b\/[^~]+$/);
      expect(expiresIn).toBeLessThanOrEqual(60);
      expect((await pullerOf(stack.current, "globex/joined", token)("manifests/1")).status).toBe(200);
    });

    test("nothing is granted, and a token that is still valid goes on", async () => {
      const { digest } = await setUp(stack.current, "acme/off");
      const { token } = await askToken(stack.current, [pullOf("acme/off")]);
      expect(await statusDuringOutage(stack.current, "acme/off")).toBe(503);
      const status = await duringOutage(
        stack.current,
        async () => (await pullerOf(stack.current, "acme/off", token)(`manifests/${digest}`)).status,
      );
      expect(status).toBe(200);
    });
  });
});

describe("move within one registry while the token service of the serving Pod is down", () => {
  const stack = useStack({ ...onOneRegistry, seedImages: false });
  const phases = [
    ["copy", { pod: "pod-a", move: moveIn("copy", "pod-b") }],
    ["settle", { pod: "pod-b", move: moveIn("settle", "pod-a") }],
  ] as const;
  const enter = (group: string, members: object) =>
    stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", ...members }));

  test.each(phases)("during %s, the other Pod's token reads what is not held", async (phase, members) => {
    await enter(`fresh-${phase}`, members);
    const name = `fresh-${phase}/app`;
    const image = await setUp(stack.current, name);
    await duringOutage(stack.current, async () => {
      const { token } = await askToken(stack.current, [pullOf(name)]);
      expect(token).toMatch(/^pods\.v1\.pod-a\/edge\.[^~]+~pod-b\/[^~]+$/);
      const ask = pullerOf(stack.current, name, token);
      const answers = [await ask("manifests/1"), await ask("tags/list"), await ask(`manifests/${absent}`)];
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 404]);
      expect(answers.map(isStale)).toEqual([false, false, false]);
      expect(answers[0]?.text).toBe(image.text);
      const part = await sha256(new Uint8Array(Buffer.from(`Bearer ${token.split("~pod-b/")[1]}`)));
      const sent = stack.current.seen("pod-a", "registry").map(({ authorizationSha256 }) => authorizationSha256);
      expect(sent).toEqual(Array(3).fill(part.replace("sha256:", "")));
    });
    expect(stack.current.seen("pod-a", "storage").filter(({ authorization }) => authorization === "bearer")).toEqual(
      [],
    );
  });

  test.each(phases)("during %s, if the registry is down too, the image is pulled whole", async (phase, members) => {
    await enter(`held-${phase}`, members);
    const name = `held-${phase}/app`;
    const image = await setUp(stack.current, name);
    await stack.current.setFault("pod-a", "registry", { mode: "refuse" });
    const { answers } = await duringOutage(stack.current, () => pull(stack.current, name, image, "demo"));
    for (const pod of podIds) await endFault(stack.current, pod);
    expect(answers.map(({ status }) => status)).toEqual(pulledStatuses);
    expect(answers.every(isStale)).toBe(true);
  });
});
