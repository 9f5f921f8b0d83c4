import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const child = new URL("../support/kv-api-child.ts", import.meta.url).pathname;

test("the KV API serves a bulk call of 1,000 keys in a process that may have only 256 files open", async () => {
  const command = 'ulimit -n 256 && exec "$0" "$1"';
  const { stdout } = await promisify(execFile)("sh", ["-c", command, process.execPath, child]);
  const served = { successful_key_count: 1_000, unsuccessful_keys: [] };
  expect(stdout.trim().split("\n")).toEqual([
    `PUT /bulk 200 ${JSON.stringify(served)}`,
    `POST /bulk/get 200 ${JSON.stringify({ values: { "many/group-7": "up-7", "many/group-999": "-999", "many/none": null } })}`,
    `POST /bulk/delete 200 ${JSON.stringify(served)}`,
    "GET /keys?prefix=many/ 200 []",
  ]);
});
