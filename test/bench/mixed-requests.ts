import { createHash, randomInt } from "node:crypto";
import { createClient } from "../support/client.ts";
import { putManifest } from "../support/image.ts";
import type { Image } from "./mixed-truth.ts";
import type { BenchStack } from "./stage.ts";

/** `failed`: the edge or a Pod answered that the request cannot be served now. This is allowed only while a fault is on. */
export type Outcome = {
  readonly kind: string;
  readonly result: "right" | "stale" | "failed" | "wrong";
  readonly detail: string;
};
type Judged = Omit<Outcome, "kind">;
type Ask = (stack: BenchStack, image: Image) => Promise<Judged>;

const right: Judged = { result: "right", detail: "" };
const wrong = (detail: string): Judged => ({ result: "wrong", detail });

/** The shares are in percent, and they add up to 100. */
const kinds: readonly (readonly [share: number, kind: string, ask: Ask])[] = [
  [16, "no token", (stack, image) => askStatus(stack, image, { path: "manifests/1", token: null, status: 401 })],
  [
    2,
    "not there",
    (stack, image) => askStatus(stack, image, { path: "manifests/absent", token: image.token, status: 404 }),
  ],
  [20, "HEAD of a tag", (stack, image) => askManifest(stack, image, { reference: "1", method: "HEAD" })],
  [12, "tag", (stack, image) => askManifest(stack, image, { reference: "1", method: "GET" })],
  [15, "digest", (stack, image) => askManifest(stack, image, { reference: image.digest, method: "GET" })],
  [5, "moving tag", askMoving],
  [20, "blob", askBlob],
  [5, "token", askToken],
  [5, "push", push],
];

export async function askMixed(stack: BenchStack, images: readonly Image[]): Promise<Outcome> {
  const [, kind, ask] = chooseKind(randomInt(100));
  const judged = await ask(stack, chooseImage(images)).catch((error: unknown): Judged => {
    const { cause } = error as { cause?: { code?: string } };
    return { result: "failed", detail: cause?.code ?? String(error) };
  });
  return { kind, ...judged };
}

function chooseKind(dice: number): (typeof kinds)[number] {
  let sum = 0;
  for (const kind of kinds) {
    sum += kind[0];
    if (dice < sum) return kind;
  }
  throw new Error("the shares have no sum of 100");
}

/** The hottest 1 % of the images get half of the requests. */
function chooseImage(images: readonly Image[]): Image {
  const hot = Math.max(1, Math.round(images.length / 100));
  const image = images[randomInt(2) === 0 ? randomInt(hot) : randomInt(images.length)];
  if (image === undefined) throw new Error("there are no images");
  return image;
}

const get = (stack: BenchStack, { repository, token }: Image, path: string, method = "GET") =>
  createClient(stack.edge).get(`/v2/${repository}/${path}`, token, { method });

/** Null for a status below 500. */
async function failure(answer: Response): Promise<Judged | null> {
  if (answer.status < 500) return null;
  await answer.body?.cancel();
  const isHonest =
    answer.status !== 503 || answer.headers.has("Retry-After") || answer.headers.get("Content-Length") === "0";
  return isHonest ? { result: "failed", detail: String(answer.status) } : wrong("503 without Retry-After");
}

type Wanted = { readonly path: string; readonly token: string | null; readonly status: number };

async function askStatus(stack: BenchStack, { repository }: Image, { path, token, status }: Wanted): Promise<Judged> {
  const answer = await createClient(stack.edge).get(`/v2/${repository}/${path}`, token);
  const failed = await failure(answer);
  if (failed !== null) return failed;
  await answer.body?.cancel();
  return answer.status === status ? right : wrong(`answered ${answer.status}; want ${status}`);
}

const judge = (answer: Response, isTrue: boolean, detail: string): Judged => {
  if (!isTrue) return wrong(`${answer.status} ${detail}`);
  return answer.headers.has("Warning") ? { result: "stale", detail: "" } : right;
};

async function askManifest(
  stack: BenchStack,
  image: Image,
  { reference, method }: { readonly reference: string; readonly method: "GET" | "HEAD" },
): Promise<Judged> {
  const answer = await get(stack, image, `manifests/${reference}`, method);
  const failed = await failure(answer);
  if (failed !== null) return failed;
  const text = await answer.text();
  const isText = text === (method === "HEAD" ? "" : image.text);
  const isDigest = answer.headers.get("Docker-Content-Digest") === image.digest;
  return judge(answer, answer.status === 200 && isText && isDigest, "is not the manifest");
}

/** A push may change the tag between the request and its answer. So every text that the tag had in this time is right. */
async function askMoving(stack: BenchStack, image: Image): Promise<Judged> {
  const askedMs = performance.now();
  const answer = await get(stack, image, "manifests/moving");
  const failed = await failure(answer);
  if (failed !== null) return failed;
  const text = await answer.text();
  const isThere = answer.status === 200;
  const isTrue = image.moving.wasIn(isThere ? text : null, { askedMs, gotMs: performance.now() });
  return judge(answer, isTrue && (isThere || answer.status === 404), "is not what was pushed last");
}

async function askBlob(stack: BenchStack, image: Image): Promise<Judged> {
  const answer = await get(stack, image, `blobs/${image.blob}`);
  const failed = await failure(answer);
  if (failed !== null) return failed;
  await answer.body?.cancel();
  const location = answer.headers.get("Location");
  if (answer.status !== 307 || location === null) return wrong(`answered ${answer.status}; want 307`);
  const stored = await fetch(location);
  if (stored.status >= 500) return { result: "failed", detail: `storage answered ${stored.status}` };
  const bytes = Buffer.from(await stored.arrayBuffer());
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  return judge(answer, digest === image.blob, "leads to other bytes");
}

async function askToken(stack: BenchStack, { repository }: Image): Promise<Judged> {
  const query = new URLSearchParams({ service: "registry-edge", scope: `repository:${repository}:pull` });
  const headers = { Authorization: `Basic ${btoa("reader:reader")}` };
  const answer = await fetch(`${stack.edge}/jwt/auth?${query}`, { headers });
  const failed = await failure(answer);
  if (failed !== null) return failed;
  const { token } = (await answer.json()) as { token?: string };
  return answer.status === 200 && token !== undefined ? right : wrong(`answered ${answer.status}; want a token`);
}

/** Pushes nothing if the image's last push is still under way. */
async function push(stack: BenchStack, image: Image): Promise<Judged> {
  const text = image.versions[randomInt(image.versions.length)] ?? "";
  let judged = right;
  await image.moving.push(text, async () => {
    const answer = await putManifest(stack, image.repository, "moving", text);
    judged = (await failure(answer)) ?? (answer.status === 201 ? right : wrong(`answered ${answer.status}; want 201`));
    if (!answer.bodyUsed) await answer.body?.cancel();
    return judged === right;
  });
  return judged;
}
