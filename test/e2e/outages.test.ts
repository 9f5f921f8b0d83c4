/** Services of one Pod fail for a while, and clients with empty token caches pull meanwhile. The variable DRILL_SECONDS sets how long. */
import { mkdtemp, rm } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generateSealingKeys } from "../../src/directory/seal.ts";
import type { LocalPodId, PodKind } from "../../src/local/pods/start-pods.ts";
import type { Fault } from "../../src/local/taps/faults.ts";
import type { Tap } from "../../src/local/taps/tap.ts";
import { createClient } from "../support/client.ts";
import { pushImage } from "../support/image.ts";
import { addSecondStore } from "../support/second-store.ts";
import { type PulledImage, pullWhole } from "../support/whole-pull.ts";
import { type Docker, dockerIn } from "./docker.ts";
import { makeImage } from "./images.ts";
import { type Drill, isFullDrill, runDrill } from "./outage-drill.ts";
import { skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, findsAll, needs } from "./tools.ts";

const kinds = [
  ["toy", []],
  ["distribution-v3", needs.distributionPods],
] as const satisfies readonly (readonly [PodKind, readonly string[]])[];

const all: readonly Fault[] = [
  { mode: "refuse" },
  { mode: "status", status: 503 },
  { mode: "reset" },
  { mode: "delay", ms: 3_000 },
  { mode: "hang" },
];
/** Some faults take long: the edge needs ten seconds to find that a service hangs. The short drill has only those for which `isShort` is true. */
const some = (isShort: (fault: Fault) => boolean) => (isFullDrill ? all : all.filter(isShort));

const absent = `sha256:${"0".repeat(64)}`;

/** Grace is on for Pod A, and off for Pod B. */
const graceOfPodA = (text: string): string => {
  const end = text.indexOf("  pod-b:\n");
  return text.slice(0, end) + text.slice(end).replace(/^ {4}outage: .*\n/m, "");
};

describe.each(kinds)("outage drill on %s Pods", (kind, tools) => {
  describeWith(tools, "with fresh clients", () => {
    let stage: Stage;
    let second: Tap;
    let docker: Docker | null = null;
    const held: readonly PulledImage[] = [
      { repository: "acme/drill/one", user: "demo" },
      { repository: "acme/drill/two", user: "reader" },
      { repository: "acme/public/three", user: null },
    ];
    const others: readonly PulledImage[] = [
      { repository: "globex/drill/one", user: "demo" },
      { repository: "globex/public/two", user: null },
    ];
    const forClients = () => `${stage.host}/acme/drill/clients:1`;

    beforeAll(async () => {
      const sealingKeys = await generateSealingKeys();
      stage = await openStage(kind, { topology: graceOfPodA, sealingKeys, env: { STORE_CHECK_MS: "400" } });
      second = await addSecondStore(stage.stack, "pod-a", sealingKeys);
      await stage.stack.runCron();
      for (const image of [...held, ...others]) {
        await pushImage(stage.stack, image.repository, 2);
        await pullWhole(stage.stack.edge, image);
      }
      if (findsAll(["skopeo"])) await pushForClients();
      if (findsAll(["skopeo", ...needs.dockerd])) {
        docker = await dockerIn(stage.dir);
        await docker("login", "-u", "demo", "-p", "demo", stage.host);
      }
    });
    afterAll(async () => {
      await docker?.stop();
      await second?.stop();
      await stage?.close();
    });

    async function pushForClients(): Promise<void> {
      await makeImage(`${stage.dir}/image`, [50_000, 50_000]);
      const login = ["--dest-creds", "demo:demo"];
      await skopeoIn(stage.dir)("copy", ...login, `oci:${stage.dir}/image:image`, `docker://${forClients()}`);
      await pullBySkopeo();
    }

    async function pullBySkopeo(): Promise<void> {
      const dir = await mkdtemp(`${stage.dir}/pulled-`);
      await skopeoIn(stage.dir)("copy", "--src-creds", "demo:demo", `docker://${forClients()}`, `oci:${dir}:image`);
      await rm(dir, { recursive: true });
    }

    async function pullByClients(): Promise<void> {
      if (findsAll(["skopeo"])) await pullBySkopeo();
      if (docker === null) return;
      expect(await docker("pull", forClients())).toContain("Downloaded newer image");
      await docker("image", "rm", forClients());
    }

    const statusOf = async (answer: Promise<Response>): Promise<number> => {
      const { status, body } = await answer;
      await body?.cancel();
      return status;
    };
    /** The token is from before the outage. */
    async function pushBegins(pod: LocalPodId) {
      const repository = pod === "pod-a" ? "acme/drill/push" : "globex/drill/push";
      const client = createClient(stage.stack.edge);
      const token = await client.token([`repository:${repository}:pull,push`]);
      return () => statusOf(client.get(`/v2/${repository}/blobs/uploads/`, token, { method: "POST" }));
    }
    const askToken = (scopes: readonly string[]) => {
      const query = new URLSearchParams([["service", "registry-edge"], ...scopes.map((scope) => ["scope", scope])]);
      const headers = { Authorization: `Basic ${btoa("demo:demo")}` };
      return statusOf(fetch(`${stage.stack.edge}/jwt/auth?${query}`, { headers }));
    };
    const unseen = async () => {
      const client = createClient(stage.stack.edge);
      const token = await client.token(["repository:acme/drill/one:pull"]);
      return () => statusOf(client.get(`/v2/acme/drill/one/blobs/${absent}`, token, { method: "HEAD" }));
    };
    const drill = (values: Omit<Drill, "stack" | "held" | "others"> & Partial<Drill>) =>
      runDrill({ stack: stage.stack, held, others, clients: pullByClients, ...values });

    const registryFaults = kind === "toy" ? all : some(({ mode }) => mode === "refuse" || mode === "status");
    it.each(registryFaults)(
      "registry: what was pulled before is pulled, and the rest fails at once: %j",
      async (fault) => {
        const rest = await unseen();
        await drill({
          title: `${kind}, registry`,
          pod: "pod-a",
          services: ["registry"],
          fault,
          rest,
          normalStatus: 404,
        });
      },
    );

    it("registry: pushes begin again after an outage", async () => {
      const rest = await pushBegins("pod-a");
      const fault = { mode: "refuse" } as const;
      // The edge counts a registry as down only after failed reads. So we let reads fail first, and the pushes are then refused at once.
      const prepare = async () => {
        const ask = await unseen();
        await Promise.all([ask(), ask(), ask()]);
      };
      await drill({
        title: `${kind}, push`,
        pod: "pod-a",
        services: ["registry"],
        fault,
        rest,
        prepare,
        normalStatus: 202,
      });
    });

    const graceFaults = some(({ mode }) => mode === "refuse" || (kind === "toy" && mode !== "reset"));
    it.each(graceFaults)("token service with grace: what was granted before is pulled: %j", async (fault) => {
      const rest = () => askToken(["repository:acme/drill/one:pull,push"]);
      await drill({
        title: `${kind}, token service with grace`,
        pod: "pod-a",
        services: ["token"],
        fault,
        rest,
        normalStatus: 200,
      });
    });

    it.each(some(({ mode }) => mode === "refuse" || mode === "status"))(
      "token service without grace: tokens that are valid go on, and new ones are refused at once: %j",
      async (fault) => {
        const client = createClient(stage.stack.edge);
        const token = await client.token(["repository:globex/drill/one:pull"]);
        const rest = () => askToken(["repository:globex/drill/one:pull"]);
        const clients = async () => {
          for (let count = 0; count < 5; count += 1) {
            expect(await statusOf(client.get("/v2/globex/drill/one/manifests/1", token))).toBe(200);
          }
        };
        const title = `${kind}, token service without grace`;
        await drill({
          title,
          pod: "pod-b",
          services: ["token"],
          fault,
          rest,
          normalStatus: 200,
          held: [],
          others: held,
          clients,
        });
      },
    );

    it("token service of one of two Pods: a token for both pulls from the other one", async () => {
      await stage.stack.setFault("pod-b", "token", { mode: "refuse" });
      const client = createClient(stage.stack.edge);
      const token = await client.token(["repository:globex/drill/one:pull", "repository:acme/drill/one:pull"]);
      expect(await statusOf(client.get("/v2/acme/drill/one/manifests/1", token))).toBe(200);
      await stage.stack.setFault("pod-b", "token", { mode: "none" });
      await expect.poll(() => askToken(["repository:globex/drill/one:pull"]), { timeout: 5_000 }).toBe(200);
    });

    it("storage: pulls go on at the second store after the cron's minute, and come back", async () => {
      const ask = async () => {
        stage.stack.clearSeen();
        second.clearSeen();
        for (const image of held) await pullWhole(stage.stack.edge, image);
        const [first, other] = [stage.stack.seen("pod-a", "storage").length, second.seen().length];
        // There are three images, each with a config and two layers. So the two stores together should get nine requests.
        expect(first + other).toBeLessThanOrEqual(9 * 1.1);
        return first > 0 ? "first" : "second";
      };
      const check = async (fault: Fault) => {
        await stage.stack.setFault("pod-a", "storage", fault);
        await stage.stack.runCron();
        // The cron trigger has written to KV which store works. A new isolate reads this at once; a running isolate may read it only after 30 s.
        await stage.stack.restartEdge("kept");
        return ask();
      };
      expect(await check({ mode: "none" })).toBe("first");
      for (const fault of some(({ mode }) => mode === "refuse")) {
        expect([fault, await check(fault)]).toEqual([fault, "second"]);
        expect([fault, await check({ mode: "none" })]).toEqual([fault, "first"]);
      }
    });

    it.each(some(({ mode }) => mode === "refuse"))("everything of one Pod, with its first store: %j", async (fault) => {
      const services = ["registry", "token", "storage"] as const;
      const prepare = async () => {
        await stage.stack.runCron();
        await stage.stack.restartEdge("kept");
        // The code of a new edge is slow until it has run some times, and p99 would measure that.
        for (const image of [...others, ...others, ...others]) await pullWhole(stage.stack.edge, image);
      };
      const rest = () => askToken(["repository:acme/drill/one:pull,push"]);
      await drill({ title: `${kind}, everything`, pod: "pod-a", services, fault, rest, prepare, normalStatus: 200 });
    });
  });
});
