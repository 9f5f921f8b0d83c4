import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, test, vi } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import { generateSealingKeys } from "../../src/directory/seal.ts";
import type { Prefix } from "../../src/oci/repository-name.ts";
import { advice, type Finding } from "../../src/podctl/doctor/findings.ts";
import { CliFailure } from "../../src/podctl/failure.ts";
import { backMove, makeMove } from "../../src/podctl/move/move-groups.ts";
import type { KvStore } from "../../src/podctl/target/kv-store.ts";
import { openTarget } from "../../src/podctl/target/open-target.ts";
import type { Target } from "../../src/podctl/target/target.ts";
import { useDoctor } from "../support/doctor.ts";
import { podctl } from "../support/podctl.ts";
import type { Sickness } from "../support/sick-pods.ts";
import { basic, serveForTest } from "../support/toy-pod.ts";
import { readStackKv } from "../support/toy-stack.ts";
import { moveIn, useMoves } from "../support/use-moves.ts";

const { stack, addOwning, healthy, mountProbe, onlyRegistry } = useDoctor(await generateSealingKeys());
const { env, folder } = useMoves(stack, {});

const quiet = "quiet" as Prefix;
const options = { jobs: 2, wait: 1, maxFreeze: 60, state: folder, takeOver: true, yes: true };

/** A Pod whose token service gives `demo` only the rights of a reader in the repositories of acme. */
async function readOnlyInAcme(): Promise<Sickness> {
  const { token } = healthy("pod-b");
  const answerWith = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "", token);
    const isAcme = url.searchParams.getAll("scope").some((scope) => scope.startsWith("repository:acme/"));
    const authorization = isAcme ? basic("reader", "reader") : String(request.headers.authorization);
    const answer = await fetch(url, { headers: { authorization } });
    response.writeHead(answer.status, { "Content-Type": "application/json" }).end(await answer.text());
  };
  const port = await serveForTest(
    (request, response) => void answerWith(request, response).catch(() => response.destroy()),
  );
  return { token: `http://127.0.0.1:${port}/jwt/auth` };
}

const refusesDeletes = () => onlyRegistry(({ method }) => (method === "DELETE" ? { inPlace: 405 } : null));
/** A registry that takes manifests whose blobs it does not have. */
const lenient = async (): Promise<Sickness> => ({
  ...(await onlyRegistry(({ method, url }) => {
    const taken = /\/manifests\//.test(url ?? "") && { PUT: 201, DELETE: 202 }[method ?? ""];
    return taken ? { inPlace: taken } : null;
  })),
  proof: "manifest",
});

const readers = { PODCTL_USER_READS: "reader", PODCTL_PASSWORD_READS: "reader" };
type Row = readonly [string, string, string, Finding, () => Promise<Sickness>, Readonly<Record<string, string>>];
const rows: readonly Row[] = [
  [
    "that refuses deletes",
    "no-deletes",
    "deletes: DELETE of a blob is answered 405",
    "deletes-off",
    refusesDeletes,
    {},
  ],
  [
    "whose `proof` its registry does not keep",
    "lenient",
    "manifests: a manifest whose blobs are not in the repository is accepted",
    "manifests-lenient",
    lenient,
    {},
  ],
  [
    "whose probe repository the user may only read",
    "reads",
    'writes: user "reader" may not pull, push, delete "reads/probe"',
    "credentials-refused",
    async () => ({}),
    readers,
  ],
  [
    "where the user may only read the group's repositories",
    "acme-reads",
    'rights: the user may not push and delete in "acme/hello" and 1 more',
    "credentials-refused",
    readOnlyInAcme,
    {},
  ],
];

describe("a move is refused with the finding of doctor", () => {
  test.each(rows)("to a Pod %s", async (_, id, text, finding, make, variables) => {
    await mountProbe(id);
    await addOwning(id, await make());
    const before = await readStackKv(stack.current, ["route/acme", "directory"]);
    const move = (...args: readonly string[]) =>
      podctl(["move", "acme", "--to", id, "--state", folder, ...args], { env: { ...env, ...variables } });
    const planned = await move("--plan");
    const line = `\n  ${id}, ${text}`;
    expect([planned.code, planned.stdout]).toEqual([1, expect.stringContaining(line)]);
    expect(planned.stdout).toMatch(/^acme cannot be moved from pod-a to \S+ until these findings are gone:\n/);
    expect(planned.stdout).toContain(`; ${advice[finding]}\n`);
    const begun = await move("--yes", "--wait", "0.1");
    expect([begun.code, begun.stderr]).toEqual([1, expect.stringContaining(line)]);
    expect(await readStackKv(stack.current, ["route/acme", "directory"])).toEqual(before);
  });
});

test.each(["down", "read-only"])(
  "a Pod that is %s gets no group: none is moved there, and no move goes on or goes back to it",
  async (state) => {
    await mountProbe(state);
    await addOwning(state, {});
    const [pod, route] = [`pod/${state}`, "route/acme"];
    const before = await readStackKv(stack.current, [pod, route]);
    const record = JSON.parse(before.get(pod) ?? "{}") as object;
    await stack.current.putKv(pod, JSON.stringify({ ...record, state, reason: "Garbage is being collected." }));
    stack.current.clearSeen();
    const write = (members: object) =>
      stack.current.putKv(route, JSON.stringify({ v: 1, revision: 1, state: "active", ...members }));
    const move = (...args: readonly string[]) =>
      podctl(["move", "acme", ...args, "--wait", "0.1", "--state", folder], { env });
    const stderr = `podctl: Pod "${state}" is recorded as ${state}, and a move needs it to be active; give it the state "active" and run the command again\n`;
    expect(await move("--to", state, "--plan")).toEqual({ code: 1, stdout: "", stderr });
    expect(await move("--to", state, "--yes")).toMatchObject({ code: 1, stderr });
    for (const [args, members] of [
      [["--to", state], { pod: "pod-a", move: moveIn("copy", state) }],
      [["--back"], { pod: state, move: moveIn("settle", "pod-a") }],
    ] as const) {
      await write(members);
      const resumed = await move(...args, "--yes", "--take-over");
      expect([resumed.code, resumed.stderr.endsWith(stderr)]).toEqual([1, true]);
      const { move: left } = JSON.parse(
        (await readStackKv(stack.current, [route])).get(route) ?? "{}",
      ) as typeof members;
      expect(left.phase).toBe(members.move.phase);
    }
    await stack.current.putKv(route, before.get(route) ?? "");
    const written = stack.current.seen("pod-b", "registry").filter(({ method }) => !["GET", "HEAD"].includes(method));
    expect(written).toEqual([]);
  },
);

test("a plan says what doctor could not check, and that no registry says how much room it has", async () => {
  await mountProbe("unprobed");
  await addOwning("unprobed", {});
  const key = "pod/unprobed";
  const { probe: _, ...record } = JSON.parse((await readStackKv(stack.current, [key])).get(key) ?? "{}") as {
    probe: object;
  };
  await stack.current.putKv(key, JSON.stringify(record));
  const planned = await podctl(["move", "acme", "--to", "unprobed", "--plan", "--state", folder], { env });
  expect([planned.code, planned.stdout]).toEqual([
    0,
    expect.stringContaining(
      "\n  no registry says how much room it has; docs/moves.md says how to check that of unprobed\n",
    ),
  ]);
  expect(planned.stdout).toContain("\n  not checked: unprobed, token: the record has no probe");
});

test("a command that can do nothing for a group names the group, and announces nothing for it", async () => {
  const keys = ["route/acme", "route/globex", "directory"];
  const before = await readStackKv(stack.current, keys);
  const move = (...args: readonly string[]) => podctl(["move", ...args, "--state", folder], { env });
  const already = 'podctl: "globex" is at Pod "pod-b" already\n';
  const unmoved = 'podctl: "acme" is at Pod "pod-a", and is not being moved\n';
  const refusals = [
    [["globex", "--to", "pod-b", "--plan"], already],
    [["globex", "--to", "pod-b"], already],
    [["acme", "--back"], unmoved],
    [["acme", "--done"], unmoved],
    [["acme", "--cleanup"], unmoved],
  ] as const;
  for (const [args, stderr] of refusals) expect(await move(...args)).toEqual({ code: 1, stdout: "", stderr });
  // Before `settle` is announced, a move can only go on or be given up.
  const copying = { pod: "pod-a", move: { to: "pod-b", phase: "copy", since: "2026-11-26T12:00:00.000Z" } };
  await stack.current.putKv("route/half", JSON.stringify({ v: 1, revision: 1, state: "active", ...copying }));
  const ended = await move("acme", "half", "--cleanup", "--take-over");
  expect([ended.code, ended.stdout]).toEqual([1, ""]);
  const ways = "go on with `podctl move half --to pod-b`, or return the group with `podctl move half --back`\n";
  expect(ended.stderr).toBe(
    `${unmoved}the move of "half" to "pod-b" had not settled when this command began, so it cannot be ended; ${ways}`,
  );
  const elsewhere = await move("half", "--to", "pod-a", "--take-over", "--yes");
  expect([elsewhere.code, elsewhere.stderr]).toEqual([
    1,
    `podctl: "half" is being moved to "pod-b", and not to "pod-a"; ${ways}`,
  ]);
  const unreached = await move("acme", "globex", "--to", "pod-b", "--yes", "--edge", "http://127.0.0.1:1");
  expect([unreached.code, unreached.stdout]).toEqual([
    1,
    "acme will be moved to pod-b. Pushes will be refused for some minutes at the end.\n",
  ]);
  expect(await readStackKv(stack.current, keys)).toEqual(before);
});

test.each([
  ["--to", {}, (target: Target) => makeMove(target, [quiet], { ...options, to: "pod-b" as PodId })],
  ["--back", { move: moveIn("copy", "pod-b") }, (target: Target) => backMove(target, [quiet], options)],
] as const)("a group that could not be read for the question of %s is not moved", async (_, members, command) => {
  const key = `route/${quiet}`;
  const record = JSON.stringify({ v: 1, pod: "pod-a", revision: 1, state: "active", ...members });
  await stack.current.putKv(key, record);
  vi.stubEnv("PODCTL_STACK", env.PODCTL_STACK);
  const target = await openTarget({});
  let hasFailed = false;
  const openKv = () => {
    const kv = target.openKv();
    const read: KvStore["read"] = (keys) => {
      if (hasFailed || !keys.includes(key)) return kv.read(keys);
      hasFailed = true;
      throw new CliFailure("KV does not answer");
    };
    return { ...kv, read };
  };
  const refused = `"${quiet}" could not be read when this command began, or its move has begun since; run the command again`;
  await expect(command({ ...target, openKv })).rejects.toThrow(refused);
  expect((await readStackKv(stack.current, [key])).get(key)).toBe(record);
  vi.unstubAllEnvs();
});
