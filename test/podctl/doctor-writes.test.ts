import { expect, test } from "vitest";
import { generateSealingKeys } from "../../src/directory/seal.ts";
import { elsewhere, findings, redirectTo, type Seeded, useDoctor } from "../support/doctor.ts";
import { serveForTest } from "../support/toy-pod.ts";

const { stack, kv, check, healthy, seedAll, onlyRegistry } = useDoctor(await generateSealingKeys());

/** Each row is a Pod with one fault that doctor finds only by the checks that write. */
const seededForWrites: readonly Seeded[] = [
  ["no-pushes", "push-refused", () => onlyRegistry(({ method }) => (method === "POST" ? { inPlace: 405 } : null))],
  [
    "no-chunked-bodies",
    "push-refused",
    () =>
      onlyRegistry(({ method, headers }) =>
        method === "PATCH" && headers["content-length"] === undefined ? { inPlace: 411 } : null,
      ),
  ],
  ["no-deletes", "deletes-off", () => onlyRegistry(({ method }) => (method === "DELETE" ? { inPlace: 405 } : null))],
  [
    "lenient",
    "manifests-lenient",
    async () => ({
      ...(await onlyRegistry(({ method, url }) => {
        const taken = /\/manifests\//.test(url ?? "") && { PUT: 201, DELETE: 202 }[method ?? ""];
        return taken ? { inPlace: taken } : null;
      })),
      blobs: { proof: "manifest" },
    }),
  ],
  [
    "pull-through",
    "manifests-untested",
    async () => ({
      ...(await onlyRegistry(({ method }) => (method === "POST" ? { inPlace: 405 } : null))),
      blobs: { proof: "manifest" },
    }),
  ],
  [
    "inner-host",
    "location-foreign",
    () => onlyRegistry(({ method, url }) => (method === "POST" ? redirectTo(url, elsewhere, /./) : null)),
  ],
];

test(`doctor finds each of ${seededForWrites.length} faults that only a write shows`, async () => {
  const pods = ["pod-a", ...(await seedAll(seededForWrites)), "pod-b"];
  expect(findings(await check({ pods }))).toEqual([]);
  expect(findings(await check({ pods, write: true }))).toEqual(
    seededForWrites.map(([id, finding]) => `${id}: ${finding}`),
  );
});

test("a Location whose path begins with another host leads doctor's token to no other host", async () => {
  const seen: string[] = [];
  const port = await serveForTest(({ method, headers }, response) => {
    seen.push(`${method} ${headers.authorization}`);
    response.writeHead(201).end();
  });
  const intoPath = ({ location = "" }: { location?: string | undefined }) => {
    const { origin, pathname, search } = new URL(location);
    return { location: `${origin}//127.0.0.1:${port}${pathname}${search}` };
  };
  const [pod] = await seedAll([
    [
      "path-host",
      "push-refused",
      () =>
        onlyRegistry(({ method }) => {
          if (method === "PATCH") return { inPlace: 404 };
          return method === "POST" ? { change: intoPath } : null;
        }),
    ],
  ]);
  expect(findings(await check({ pods: [pod ?? ""], write: true }))).toEqual(["path-host: push-refused"]);
  expect(seen).toEqual([]);
});

test("a Location that is relative to the upload's own URL is followed, as the edge does", async () => {
  const relative = ({ location = "" }: { location?: string | undefined }) => ({
    location: location.replace(/^.*\/uploads\//, ""),
  });
  const [pod] = await seedAll([
    [
      "relative",
      "",
      () => onlyRegistry(({ method }) => (["POST", "PATCH"].includes(method ?? "") ? { change: relative } : null)),
    ],
  ]);
  expect(findings(await check({ pods: [pod ?? ""], write: true }))).toEqual([]);
});

test("doctor removes what it wrote", async () => {
  stack.current.clearSeen();
  await check({ write: true, pods: ["pod-b"] });
  const writes = stack.current.seen("pod-b", "registry").filter(({ method }) => !["GET", "HEAD"].includes(method));
  expect(writes.map(({ method, status }) => [method, status])).toEqual([
    ["POST", 202],
    ["PATCH", 202],
    ["PUT", 201],
    ["DELETE", 202],
    ["PUT", 400],
  ]);
  for (const { path } of writes) expect(path).toContain("/v2/globex/hello/");
});

test("doctor writes nothing to a Pod that is read-only, and says so", async () => {
  kv.set(
    "pod/pod-b",
    JSON.stringify({ v: 1, ...healthy("pod-b"), revision: 1, state: "read-only", reason: "cleanup" }),
  );
  stack.current.clearSeen();
  const checks = await check({ write: true, pods: ["pod-b"] });
  const writes = stack.current.seen("pod-b", "registry").filter(({ method }) => !["GET", "HEAD"].includes(method));
  expect([findings(checks), writes]).toEqual([[], []]);
  const text = "the Pod is recorded as read-only";
  expect(checks).toContainEqual({ pod: "pod-b", check: "writes", status: "skipped", text });
});
