import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { serve } from "../../src/local/http-server.ts";
import {
  claimStateDir,
  ownStateDir,
  type RunningStack,
  readStackFile,
  releaseStateDir,
  writeStackFile,
} from "../../src/local/stack-files.ts";

let dir: string;
let control: string;
let stopControl: () => Promise<void>;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "registry-edge-files-"));
  const server = await serve((_, response) => void response.end('{"reads":0}'));
  control = `http://127.0.0.1:${server.port}`;
  stopControl = server.stop;
});
afterEach(async () => {
  await stopControl();
  await rm(dir, { recursive: true });
});

test("stack.json has its documented form, and describes a stack only while its control server answers", async () => {
  const services = { registry: urls(1), token: urls(2), storage: urls(3) };
  const pods = { "pod-a": services, "pod-b": services };
  const stack: RunningStack = { edge: "http://127.0.0.1:1", control, stateDir: join(dir, "state"), pods };
  const file = join(dir, "local/stack.json");
  await writeStackFile(stack, file);
  expect(JSON.parse(await readFile(file, "utf8"))).toEqual({
    edge: stack.edge,
    kv: { persistTo: expect.stringMatching(/\/state$/), binding: "DIRECTORY" },
    control,
    pods,
  });
  expect(await readStackFile(file)).toEqual(stack);
  await stopControl();
  expect(await readStackFile(file)).toBeNull();
  expect(await readStackFile(join(dir, "absent.json"))).toBeNull();
});

const urls = (port: number) => ({ url: `http://127.0.0.1:${port}`, direct: `http://127.0.0.1:${port}0` });

test("a state folder is claimed by one stack at a time, and a claim removes only the stack's own files", async () => {
  await mkdir(join(dir, "v3"));
  await writeFile(join(dir, "notes.txt"), "the user's own");
  await claimStateDir(dir);
  expect(await readdir(dir)).toEqual(["notes.txt"]);
  await ownStateDir(dir, control);
  await expect(claimStateDir(dir)).rejects.toThrow(`Another stack is running on ${dir}: stop it first.`);
  await releaseStateDir(dir);
  await claimStateDir(dir);
});
