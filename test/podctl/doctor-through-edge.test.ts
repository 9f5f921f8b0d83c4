import { describe, expect, test } from "vitest";
import { generateSealingKeys } from "../../src/directory/seal.ts";
import { active, blobPath, elsewhere, findings, passed, redirectTo, useDoctor } from "../support/doctor.ts";
import { closedOrigin } from "../support/proxy.ts";
import { sickRecord } from "../support/sick-pods.ts";

const sealingKeys = await generateSealingKeys();
const { stack, kv, put, check, healthy, onlyRegistry, mountProbe, addOwning, addTrusting } = useDoctor(sealingKeys);

describe("doctor and a Pod that only the edge may reach:", () => {
  test("the Pod is checked through the edge, and its faults are found there, too", async () => {
    await addTrusting("trusting", {});
    await addTrusting("trusting-other-issuer", { issuer: "somebody" });
    await addTrusting("trusting-registry-down", { registry: closedOrigin });
    await addTrusting("trusting-token-down", { token: `${closedOrigin}/jwt/auth` });
    await addTrusting("trusting-two-lines", {}, "HUSH\nHUSH");
    const pods = [
      "trusting",
      "trusting-other-issuer",
      "trusting-registry-down",
      "trusting-token-down",
      "trusting-two-lines",
    ];
    for (const id of pods) await mountProbe(id);
    const checks = await check({ pods, write: true });
    expect(findings(checks)).toEqual([
      "trusting-other-issuer: issuer-wrong",
      "trusting-registry-down: registry-unreachable",
      "trusting-token-down: token-unreachable",
      "trusting-two-lines: trust-sealed",
    ]);
    expect(JSON.stringify(checks)).toContain('field \\"trust.value\\", cannot be sent as a header');
    expect(JSON.stringify(checks)).not.toContain("HUSH");
    expect(passed(checks, "trusting")).toEqual([
      "blob hosts",
      "token",
      "token key",
      "issuer",
      "audience",
      "probe blob",
      "store 0 (s3)",
      "clock",
    ]);
  });

  test("it is found that the Worker lacks the Pod's binding, and not that its token service is elsewhere", async () => {
    await addOwning("bound", { trust: { kind: "binding", binding: "POD_B" } });
    const checks = await check({ pods: ["bound"] });
    expect(findings(checks)).toEqual(["bound: edge-wrong"]);
    expect(JSON.stringify(checks)).toContain('has the binding \\"POD_B\\"');
  });

  test("a redirect to a host that the record does not name is told from a proxy's own 502", async () => {
    const redirecting = await onlyRegistry(({ url }) => redirectTo(url, elsewhere));
    // In the configuration that registries recommend, nginx adds `Docker-Distribution-Api-Version` to its own errors, too.
    const ofNginx = { "Content-Type": "text/html", "Docker-Distribution-Api-Version": "registry/2.0" };
    const failing = await onlyRegistry(({ url }) =>
      blobPath.test(url ?? "") ? { inPlace: 502, headers: ofNginx } : null,
    );
    await addTrusting("trusting-elsewhere", redirecting);
    await addTrusting("trusting-502", failing);
    const pods = ["trusting-elsewhere", "trusting-502"];
    for (const id of pods) await mountProbe(id);
    const found = findings(await check({ pods }));
    expect(found).toEqual(["trusting-elsewhere: redirect-unlisted", "trusting-502: registry-wrong"]);
  });
});

test("doctor reports that the edge has an older record of a Pod, also if the Pod has no store and no gateway", async () => {
  await addTrusting("trusting-storeless", { blobs: { stores: [] } });
  await mountProbe("trusting-storeless");
  expect(findings(await check({ pods: ["trusting-storeless"] }))).toEqual([]);
  const text = kv.get("pod/trusting-storeless") ?? "";
  kv.set("pod/trusting-storeless", text.replace('"revision":1', '"revision":2'));
  expect(findings(await check({ pods: ["trusting-storeless"] }))).toEqual(["trusting-storeless: edge-behind"]);
});

test("doctor finds a Pod that answers podctl but not the edge", async () => {
  const probe = { repository: "split/probe", digest: healthy("pod-b").probe.digest };
  const record = await sickRecord("split", healthy("pod-b"), { probe }, sealingKeys);
  await mountProbe("split");
  await put("route/split", { pod: "split", ...active });
  await put("pod/split", { ...active, ...record });
  // The edge cannot reach the registry, but podctl can.
  await stack.current.putKv("pod/split", JSON.stringify({ v: 1, ...active, ...record, registry: closedOrigin }));
  expect(findings(await check({ pods: ["split"] }))).toEqual(["split: edge-differs"]);
});

test("doctor says that the rules of the probe's group exclude it, and finds nothing wrong", async () => {
  await addOwning("excluding", {});
  await addTrusting("excluding-all", {});
  for (const id of ["excluding", "excluding-all"]) {
    await mountProbe(id);
    await put(`route/${id}`, { pod: id, ...active, clients: { allow: [{ countries: ["AQ"] }], reason: "only here" } });
  }
  const checks = await check({ pods: ["excluding", "excluding-all"] });
  const skipped = checks.filter(({ status }) => status === "skipped");
  const text = expect.stringContaining("`clients` rules of the probe's group exclude") as string;
  expect([findings(checks), skipped]).toMatchObject([
    [],
    [
      { check: "through edge", text },
      { check: "token", text },
    ],
  ]);
});
