import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseRecord, podRecord } from "../../src/directory/records.ts";
import { awsFile, azureFile } from "../support/cloud-files.ts";
import { accountEnv, podctl } from "../support/podctl.ts";
import { podText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-clouds-"));
afterAll(() => rmSync(dir, { recursive: true }));
const { server } = await useCloudflareKv();
const env = accountEnv(dir, server);
const daysAgo = (days: number): Date => new Date(Date.now() - days * 24 * 60 * 60 * 1_000 - 60_000);
const dayOf = (date: Date): string => date.toISOString().slice(0, 10);
const awsDate = (date: Date): string => date.toISOString().slice(0, 19).replaceAll(/[T:]/g, "-");

const file = join(dir, "topology.yaml");
const when = { cloud: "aws", region: "eu-central-1" };
const store = { scheme: "public", baseUrl: "https://cdn.example.net" };
const pod = podText("pod-a", { blobs: { stores: [{ ...store, when }, store] } });
writeFileSync(file, ["pods:", `  pod-a: ${pod}`, "clouds: { aws: aws.json, azure: tags.json }"].join("\n"));
writeFileSync(join(dir, "tags.json"), JSON.stringify(azureFile));
const writeAws = (content: object) => writeFileSync(join(dir, "aws.json"), JSON.stringify({ ...awsFile, ...content }));
const on = ["--env", "production"];
const linesOf = (text: string) => text.trimEnd().split("\n").slice(-2);

describe("podctl plan", () => {
  test("says how old each cloud's file is", async () => {
    const [published, saved] = [daysAgo(6), daysAgo(45)];
    writeAws({ createDate: awsDate(published) });
    utimesSync(join(dir, "tags.json"), saved, saved);
    expect(linesOf((await podctl(["plan", file, ...on], { env })).stdout)).toEqual([
      `clouds.aws: aws.json is 6 days old (published on ${dayOf(published)})`,
      `clouds.azure: tags.json is 45 days old (saved on ${dayOf(saved)}; it names no date); download it again`,
    ]);
    const { clouds } = JSON.parse((await podctl(["plan", file, "--json", ...on], { env })).stdout);
    expect(clouds).toMatchObject([
      { cloud: "aws", file: "aws.json", dateFrom: "content", ageDays: 6 },
      { cloud: "azure", file: "tags.json", dateFrom: "file time", ageDays: 45 },
    ]);
  });
});

describe("podctl apply", () => {
  test("writes CIDRs for a cloud's region, and writes nothing again until they change", async () => {
    writeAws({});
    const apply = () => podctl(["apply", file, "--yes", ...on], { env });
    expect((await apply()).code).toBe(0);
    const { value } = server.data.get("pod/pod-a") ?? { value: "" };
    const record = parseRecord("pod/pod-a", value, podRecord);
    expect(record.ok ? record.value.blobs.stores[0]?.when : record.error).toEqual({
      cidrs: ["192.0.2.0/24", "2001:db8:1000::/36"],
    });
    expect([...server.data.values()].map(({ value }) => value).join()).not.toContain("cloud");
    writeAws({ createDate: "2026-11-20-10-00-00", prefixes: awsFile.prefixes.toReversed() });
    expect((await apply()).stdout).toMatch(/^No changes: .*\nclouds\.aws: aws\.json is \d+ days old/);
    writeAws({ ipv6_prefixes: [] });
    expect((await apply()).stdout).toContain("~ pod/pod-a: blobs");
  });

  test("writes a record of 20,000 CIDRs without metadata, and reads it back as unchanged", async () => {
    const prefixes = Array.from({ length: 20_000 }, (_, index) => ({
      ip_prefix: `10.${index >> 8}.${index & 255}.0/25`,
      region: "eu-central-1",
    }));
    writeAws({ prefixes });
    const apply = () => podctl(["apply", file, "--yes", ...on], { env });
    expect((await apply()).code).toBe(0);
    const { value, metadata } = server.data.get("pod/pod-a") ?? { value: "" };
    expect([metadata, value.length > 300_000, value.length < 25 * 1024 * 1024]).toEqual([undefined, true, true]);
    expect((await apply()).stdout).toMatch(/^No changes/);
  });
});
