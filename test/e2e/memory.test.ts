import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createClient } from "../support/client.ts";
import { megabyte } from "./images.ts";
import { openStage, type Stage } from "./stage.ts";
import { tarOfRandomBytes } from "./tar.ts";
import { describeWith, needs } from "./tools.ts";

const largeBytes = 1_000 * megabyte;

describeWith(needs.distributionPods, "peak memory of the edge during the push of a layer of unknown length", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage("distribution-v3");
  });
  afterAll(() => stage?.close());

  it("it rises by less than 64 MB from a layer of 20 MB to one of 1 GB", async () => {
    await push(20 * megabyte);
    const small = await peakBytesDuring(() => push(20 * megabyte));
    stage.stack.clearSeen();
    const large = await peakBytesDuring(() => push(largeBytes));
    expect((large - small) / megabyte).toBeLessThan(64);
    await stage.stack.edgeSettled();
    const patch = stage.stack.edgeSeen().find(({ method }) => method === "PATCH");
    expect(patch).toMatchObject({ status: 202, requestBytes: null });
    const received = stage.stack.seen("pod-a", "registry").find(({ method }) => method === "PATCH");
    expect(received?.requestBytes).toBeGreaterThan(largeBytes);
  });

  /** Pushes as docker does, by POST, one chunked PATCH and PUT. */
  async function push(bytes: number): Promise<void> {
    const client = createClient(stage.stack.edge);
    const token = await client.token(["repository:acme/large:pull,push"]);
    const started = await client.get("/v2/acme/large/blobs/uploads/", token, { method: "POST" });
    const hash = createHash("sha256");
    const chunks = function* () {
      for (const chunk of tarOfRandomBytes("layer", bytes)) {
        hash.update(chunk);
        yield chunk;
      }
    };
    const body = Readable.toWeb(Readable.from(chunks())) as ReadableStream;
    const patched = await client.get(placeOf(started), token, { method: "PATCH", body, duplex: "half" });
    expect(patched.status).toBe(202);
    const digest = `sha256:${hash.digest("hex")}`;
    const done = await client.get(`${placeOf(patched)}&digest=${digest}`, token, { method: "PUT" });
    expect(done.status).toBe(201);
  }

  const placeOf = (answer: Response): string => answer.headers.get("Location") ?? "";

  async function peakBytesDuring(act: () => Promise<void>): Promise<number> {
    const process = `/proc/${stage.stack.workerdPid()}`;
    // Writing 5 resets the peak resident set size to the current size (proc(5), `clear_refs`).
    await writeFile(`${process}/clear_refs`, "5");
    await act();
    const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`${process}/status`, "utf8"))?.[1];
    return Number(kilobytes) * 1024;
  }
});
