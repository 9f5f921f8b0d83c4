import { describe, expect, test } from "vitest";
import type { Stack } from "../../src/local/stack.ts";
import { createClient, manifestTypes, sha256 } from "../support/client.ts";
import { pushImage } from "../support/image.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { keepManifest, pullerOf, type Seen } from "../support/pull.ts";
import { exchangeRaw } from "../support/raw-exchange.ts";
import { endFault, useStack, withOutage } from "../support/toy-stack.ts";

const odd = await startOddPod();
const stack = useStack({ seedImages: false, topology: (text) => asPodB(odd)(withOutage("staleSeconds: 600")(text)) });

/** The bytes of U+FEFF and U+00A0 in UTF-8, one character per byte. JavaScript's `trim` removes both, and Go's `mime.ParseMediaType` only U+00A0. */
const [bom, noBreakSpace] = ["\u00ef\u00bb\u00bf", "\u00c2\u00a0"];
/** Header lines in which a reader that is less strict than the Pod sees all manifest types. */
const misreadAccepts: readonly (readonly [what: string, lines: readonly string[]])[] = [
  ["has U+FEFF before two types", [`Accept: ${manifestTypes.replaceAll("application/vnd.oci", `${bom}$&`)}`]],
  ["has U+00A0 before two types", [`Accept: ${manifestTypes.replaceAll("application/vnd.oci", `${noBreakSpace}$&`)}`]],
  ["is named by Connection", [`Accept: ${manifestTypes}`, "Connection: close, accept"]],
];

const getRaw = (stack: Stack, path: string, headers: readonly string[]) =>
  exchangeRaw(stack.edge, {
    text: `${[`GET ${path} HTTP/1.1`, "Host: edge.test", ...headers].join("\r\n")}\r\n\r\n`,
    breaksOff: false,
    isHead: false,
  });

const isStale = ({ headers }: Seen): boolean => headers["warning"] === '110 - "response is stale"';

test.each(misreadAccepts)(
  "a client whose Accept %s does not make the edge forget the tag or the manifest",
  async (what, lines) => {
    const repository = `acme/misread-${what.replaceAll(/[^a-z]+/g, "-")}`;
    const { digest } = await pushImage(stack.current, repository, 1);
    await keepManifest(stack.current, repository, digest);
    const token = await createClient(stack.current.edge).token([`repository:${repository}:pull`]);
    const ask = pullerOf(stack.current, repository, token);
    const paths = ["manifests/1", `manifests/${digest}`];
    for (const path of paths) {
      // `Cache-Control: no-cache` makes the edge ask the Pod even for a manifest that the edge has kept.
      const headers = [`Authorization: Bearer ${token}`, "Cache-Control: no-cache", ...lines];
      expect((await getRaw(stack.current, `/v2/${repository}/${path}`, headers))?.status).toBe(404);
    }
    await stack.current.edgeSettled();
    await stack.current.setFault("pod-a", "registry", { mode: "refuse" });
    const answers = await Promise.all(paths.map((path) => ask(path)));
    await endFault(stack.current, "pod-a");
    // Without the Pod, the edge's answer to a tag is stale. The answer to a kept manifest's digest needs no Pod, so it is not stale.
    expect(answers.map((answer) => [answer.status, isStale(answer)])).toEqual([
      [200, true],
      [200, false],
    ]);
  },
);

describe("Pod that converts a list for a client that does not name the list's type", () => {
  const [, , imageType = "", listType = ""] = manifestTypes.split(", ");
  const list = JSON.stringify({ schemaVersion: 2, mediaType: listType, manifests: [] });
  const image = JSON.stringify({ schemaVersion: 2, mediaType: imageType });
  const digestOf = (text: string) => sha256(new Uint8Array(Buffer.from(text)));

  /** As distribution 2.8 does, answers the tag with the list only if `Accept` names the list's type, and otherwise with the image. */
  async function answerConverted(): Promise<void> {
    const digests = { [list]: await digestOf(list), [image]: await digestOf(image) };
    odd.answer((response, { headers, path }) => {
      // Like Go, this keeps U+FEFF: Node reads a header's bytes as Latin-1, so `trim` sees three other characters.
      const types = (headers.accept ?? "").split(",").map((entry) => entry.trim());
      const text =
        path.endsWith(digests[list] ?? "") || (path.endsWith("/1") && types.includes(listType)) ? list : image;
      const answered = { "Content-Type": text === list ? listType : imageType, "Docker-Content-Digest": digests[text] };
      response.writeHead(200, answered).end(text);
    });
  }

  test.each([
    ["has U+FEFF in it", [`Accept: ${manifestTypes.replace(listType, bom + listType)}`]],
    ["is named by Connection", [`Accept: ${manifestTypes}`, "Connection: close, accept"]],
  ])("a reader whose Accept %s does not change what the others get for the tag", async (_, lines) => {
    await answerConverted();
    const repository = `globex/listed-${lines.length}`;
    const token = await createClient(stack.current.edge).token([`repository:${repository}:pull`]);
    const ask = pullerOf(stack.current, repository, token);
    await keepManifest(stack.current, repository, await digestOf(list));
    // This client does not accept lists, so for the tag the Pod gives it an image. The pull by the image's digest then makes the edge keep the image,
    // which must not replace the list for others.
    for (let time = 0; time < 3; time += 1) {
      const headers = [`Authorization: Bearer ${token}`, ...lines];
      const answer = await getRaw(stack.current, `/v2/${repository}/manifests/1`, headers);
      expect([answer?.status, answer?.body]).toEqual([200, image]);
      expect((await ask(`manifests/${await digestOf(image)}`)).text).toBe(image);
      await stack.current.edgeSettled();
    }
    odd.answer((response) => void response.destroy());
    await expect.poll(async () => isStale(await ask("manifests/1")), { timeout: 10_000 }).toBe(true);
    expect((await ask("manifests/1")).text).toBe(list);
  });
});
