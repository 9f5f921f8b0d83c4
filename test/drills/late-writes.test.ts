import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type ClientInit, createClient } from "../support/client.ts";
import { manifestType } from "../support/image.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack } from "../support/toy-stack.ts";
import { useGroups } from "../support/use-groups.ts";
import { timeIn } from "../support/use-moves.ts";

const pod = await startOddPod();
const stack = useStack({ seedImages: false, topology: asPodB(pod) });
const { assign, write } = useGroups(stack);

/** The freeze begins this long after the start of the test. */
const freezeSeconds = 8;
/**
 * The edge calls a deletion late if it takes longer than 20 s, and a push if it takes longer than 50 s. podctl allows ten seconds more: after the
 * start of a freeze, it waits 30 s for deletions before its last copy, and 60 s for pushes before it compares the Pods.
 */
const [lateDelete, latePush] = ["tag-22", "tag-52"];

/** The Pod answers a request for `tag-22` after 22 s, one for `tag-10` after 10 s, and all others at once. */
function answerSlowly(): void {
  pod.answer(async (response, { method, path }) => {
    await sleep(Number(/tag-(\d+)$/.exec(path)?.[1] ?? 0) * 1_000);
    if (method === "GET") response.writeHead(401);
    else if (method === "POST") response.writeHead(202, { Location: `${path}u-1` });
    else response.writeHead(method === "DELETE" ? 202 : 201);
    response.end();
  });
}

const slowBody = (seconds: number): ReadableStream<Uint8Array> =>
  new ReadableStream({
    async start(controller) {
      controller.enqueue(Buffer.from("{"));
      await sleep(seconds * 1_000);
      controller.enqueue(Buffer.from("}"));
      controller.close();
    },
  });

test("a write that ends at the old Pod long after the freeze has begun gets the freeze's 403, and any other write succeeds", async () => {
  answerSlowly();
  const client = createClient(stack.current.edge);
  const freeze = { to: "pod-a", phase: "freeze", since: timeIn(freezeSeconds) };
  await assign("frozen", { pod: "pod-b", move: freeze });
  await assign("copied", { pod: "pod-b", move: { to: "pod-a", phase: "copy", since: timeIn(-60) } });
  for (const group of ["unknown", "moved"]) await assign(group, { pod: "pod-b" });
  const send = async (path: string, init: ClientInit) => {
    const [, , group = ""] = path.split("/");
    const token = await client.token([`repository:${group}/app:pull,push,delete`]);
    const { status, text } = await client
      .get(path, token, { duplex: "half", ...init })
      .then(async (answer) => ({ status: answer.status, text: await answer.text() }));
    return [status, status === 403 ? (JSON.parse(text) as { errors: { message: string }[] }).errors[0]?.message : text];
  };
  const put = (group: string, tag: string, body: ClientInit["body"] = "{}") =>
    send(`/v2/${group}/app/manifests/${tag}`, { method: "PUT", body, headers: { "Content-Type": manifestType } });
  const remove = (group: string, tag: string) => send(`/v2/${group}/app/manifests/${tag}`, { method: "DELETE" });
  const uploadToken = await client.token(["repository:frozen/app:pull,push"]);
  const started = await client.get("/v2/frozen/app/blobs/uploads/", uploadToken, { method: "POST" });
  const upload = `${started.headers.get("Location")}&digest=sha256:${"a".repeat(64)}`;
  const late = [
    put("frozen", latePush),
    put("frozen", "slow-body", slowBody(52)),
    remove("frozen", lateDelete),
    put("unknown", latePush),
    put("moved", latePush),
  ];
  const inTime = [put("frozen", "tag-10"), remove("frozen", "tag-10"), put("copied", latePush)];
  const layer = send(upload, { method: "PUT", body: slowBody(52) });
  await sleep(2_000);
  // The edge has already sent the writes of these two groups to their Pod. Now KV says that one is frozen and the other is assigned elsewhere.
  await write("unknown", { pod: "pod-b", move: freeze });
  await write("moved", { pod: "pod-a" });
  const sentence = (name: string) => `${name} is being moved to another registry; pushes work again in a few minutes`;
  expect(await Promise.all(late)).toEqual([
    ...["frozen", "frozen", "frozen", "unknown", "moved/app"].map((name) => [403, sentence(name)]),
  ]);
  expect(await Promise.all(inTime)).toEqual([
    [201, ""],
    [202, ""],
    [201, ""],
  ]);
  expect(await layer).toEqual([201, ""]);
  const writes = pod.seen.filter(({ method }) => method !== "GET").map(({ method, path }) => `${method} ${path}`);
  expect(writes.filter((each) => each.includes("manifests")).sort()).toEqual([
    "DELETE /v2/frozen/app/manifests/tag-10",
    `DELETE /v2/frozen/app/manifests/${lateDelete}`,
    `PUT /v2/copied/app/manifests/${latePush}`,
    "PUT /v2/frozen/app/manifests/slow-body",
    "PUT /v2/frozen/app/manifests/tag-10",
    `PUT /v2/frozen/app/manifests/${latePush}`,
    `PUT /v2/moved/app/manifests/${latePush}`,
    `PUT /v2/unknown/app/manifests/${latePush}`,
  ]);
  expect(stack.current.seen("pod-a", "registry")).toEqual([]);
  for (const each of ["pod-a", "pod-b"] as const) expect(stack.current.seen(each, "storage")).toEqual([]);
  await stack.current.edgeSettled();
  const refused = stack.current.edgeSeen().filter(({ status }) => status === 403);
  expect(refused.map(({ pod: asked }) => asked)).toEqual(Array(5).fill("pod-b"));
}, 90_000);
