import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import { loadTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import { maxCidrs } from "../../src/topology/topology.ts";
import { awsFile, azureFile, googleFile } from "../support/cloud-files.ts";
import { podText, production } from "../support/topologies.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-clouds-"));
afterAll(() => rmSync(dir, { recursive: true }));

const write = (name: string, content: unknown): void =>
  writeFileSync(join(dir, name), typeof content === "string" ? content : JSON.stringify(content));
write("aws.json", awsFile);
write("cloud.json", googleFile);
write("ServiceTags_Public_20261109.json", azureFile);
write("tags.json", azureFile);
utimesSync(join(dir, "tags.json"), new Date("2026-11-20T12:00:00Z"), new Date("2026-11-20T12:00:00Z"));

const all = "{ aws: aws.json, google: ./cloud.json, azure: ServiceTags_Public_20261109.json }";
const cdn = { scheme: "public", baseUrl: "https://cdn.test" };

async function load(clouds: string | null, ...whens: readonly (object | null)[]) {
  const stores = whens.map((when) => (when === null ? cdn : { ...cdn, when }));
  const lines = ["pods:", `  pod-a: ${podText("pod-a", { blobs: { stores } })}`];
  const file = join(dir, "topology.yaml");
  writeFileSync(file, [...lines, ...(clouds === null ? [] : [`clouds: ${clouds}`])].join("\n"));
  return loadTopology(file, { ...production, placeholders: null });
}

async function storesOf(...whens: readonly (object | null)[]) {
  const loaded = await load(all, ...whens);
  if (!loaded.ok) throw new Error(loaded.error.map(formatMistake).join("\n"));
  return loaded.value.pods.get("pod-a" as PodId)?.blobs.stores.map(({ when }) => when);
}

async function mistakesOf(clouds: string | null, ...whens: readonly (object | null)[]) {
  const loaded = await load(clouds, ...whens);
  return loaded.ok ? [] : loaded.error.map((mistake) => formatMistake(mistake).slice(dir.length + 1));
}

describe("a store for the clients of a cloud", () => {
  test.each([
    ["a region of AWS", { cloud: "aws", region: "eu-central-1" }, ["192.0.2.0/24", "2001:db8:1000::/36"]],
    ["all of AWS", { cloud: "aws" }, ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/28", "2001:db8:1000::/36"]],
    ["a region of Google", { cloud: "google", region: "europe-west3" }, ["198.51.100.0/25", "2001:db8:2000::/44"]],
    [
      "two regions of Google, whose ranges touch",
      { cloud: "google", region: ["europe-west4", "europe-west3"] },
      ["198.51.100.0/24", "2001:db8:2000::/44"],
    ],
    ["a region of Azure", { cloud: "azure", region: "westeurope" }, ["203.0.113.0/26", "2001:db8:3000::/48"]],
    [
      "all of Azure",
      { cloud: "azure" },
      ["203.0.113.0/26", "203.0.113.128/26", "203.0.113.255/32", "2001:db8:3000::/48"],
    ],
  ])("has the CIDRs of %s instead of its name", async (_, when, cidrs) => {
    expect(await storesOf(when, null)).toEqual([{ cidrs }, undefined]);
  });

  test("keeps its other conditions", async () => {
    expect(await storesOf({ cloud: "google", region: "europe-west4", countries: ["NL"] }, null)).toEqual([
      { cidrs: ["198.51.100.128/25"], countries: ["NL"] },
      undefined,
    ]);
  });

  test("is never chosen after a store for a larger part of the cloud", async () => {
    const when = { cloud: "aws", region: "eu-central-1" };
    expect(await mistakesOf(all, { cloud: "aws" }, when)).toEqual([
      expect.stringMatching(/stores\[1\]: is never chosen, because stores.0 comes first and fits all of its clients/),
    ]);
    expect(await mistakesOf(all, when, { cloud: "aws" })).toEqual([]);
  });
});

describe("a mistake about clouds has its place:", () => {
  test.each<[string, string | null, object, string]>([
    ["a cloud that is not known", all, { cloud: "oracle" }, 'when.cloud: "oracle" is wrong; want "aws" or "google"'],
    [
      "a cloud without a file",
      "{ aws: aws.json }",
      { cloud: "google" },
      'when.cloud: "google" has no file; want its path as clouds.google',
    ],
    ["a cloud without any file", null, { cloud: "aws" }, 'when.cloud: "aws" has no file'],
    [
      "a region that the file lacks",
      all,
      { cloud: "aws", region: "eu-central-9" },
      'when.region: "eu-central-9" is not a region of "aws.json"; want one of eu-central-1',
    ],
    [
      "a region that is called otherwise in Azure's file",
      all,
      { cloud: "azure", region: "germanywestcentral" },
      '"germanywestcentral" is not a region of "ServiceTags_Public_20261109.json"; want one of germanywc',
    ],
    ["a region without a cloud", all, { region: "eu-central-1" }, "when.region: is a region without a cloud"],
    ["an empty list of regions", all, { cloud: "aws", region: [] }, "when.region: a list is wrong"],
    ["a cloud next to CIDRs", all, { cloud: "aws", cidrs: ["192.0.2.0/24"] }, "when.cidrs: is next to `cloud`"],
  ])("%s", async (_, clouds, when, text) => {
    const mistakes = await mistakesOf(clouds, when, null);
    expect(mistakes).toEqual([expect.stringContaining(text)]);
    expect(mistakes[0]).toMatch(/^topology\.yaml:2:\d{3}: pods\.pod-a\.blobs\.stores\[0\]\.when\./);
  });

  test.each<[string, unknown, string]>([
    ["a file that is not there", null, '"odd.json" cannot be read: ENOENT'],
    ["a file that is not JSON", "<html>", `"odd.json" is not JSON; want AWS's ip-ranges.json`],
    ["a file of another cloud", googleFile, `"odd.json" is not AWS's ip-ranges.json: createDate is missing`],
    [
      "a range that is not a CIDR",
      { ...awsFile, prefixes: [{ ip_prefix: "192.0.2.0/33", region: "eu-central-1" }] },
      'prefixes.0.ip_prefix "192.0.2.0/33" is wrong; want a block of IPv4 or IPv6 addresses',
    ],
    ["a date that does not exist", { ...awsFile, createDate: "2026-19-15-00-03-10" }, "want a time"],
  ])("%s", async (_, content, text) => {
    rmSync(join(dir, "odd.json"), { force: true });
    if (content !== null) write("odd.json", content);
    const mistakes = await mistakesOf("{ aws: odd.json }", { cloud: "aws" }, null);
    expect(mistakes).toEqual([expect.stringContaining(text)]);
    expect(mistakes[0]).toMatch(/^topology\.yaml:3:16: clouds\.aws: "odd\.json" /);
  });

  test("a file of Google that has no regions", async () => {
    write("goog.json", { ...googleFile, prefixes: [{ ipv4Prefix: "198.51.100.0/24" }] });
    expect(await mistakesOf("{ google: goog.json }", null)).toEqual([
      expect.stringContaining(`"goog.json" is not Google's cloud.json: prefixes.0.scope is missing`),
    ]);
  });

  test("a file under the name of no cloud", async () => {
    expect(await mistakesOf("{ oracle: aws.json }", null)).toEqual([
      expect.stringMatching(/^topology\.yaml:3:11: clouds\.oracle: is not a member here/),
    ]);
  });

  test("more CIDRs than the Worker remembers", async () => {
    const prefixes = Array.from({ length: maxCidrs + 1 }, (_, index) => ({
      ip_prefix: `10.${index >> 14}.${(index >> 6) & 255}.${(index & 63) * 4}/31`,
      region: "eu-central-1",
    }));
    write("large.json", { ...awsFile, prefixes, ipv6_prefixes: [] });
    expect(await mistakesOf("{ aws: large.json }", { cloud: "aws" }, null)).toEqual([
      expect.stringMatching(
        /^topology\.yaml:1:1: pods: have 30001 CIDRs in their stores and groups; want at most 30000/,
      ),
    ]);
  });
});

test.each([
  ["aws: aws.json", "2026-11-15T00:03:10.000Z", "content"],
  ["google: cloud.json", "2026-11-14T16:03:10.000Z", "content"],
  ["azure: ServiceTags_Public_20261109.json", "2026-11-09T00:00:00.000Z", "name"],
  ["azure: tags.json", "2026-11-20T12:00:00.000Z", "file time"],
])("the date of the cloud file of %s is %s, from its %s", async (clouds, date, dateFrom) => {
  const loaded = await load(`{ ${clouds} }`, null);
  const files = loaded.ok ? [...loaded.value.cloudFiles.values()] : [];
  expect(files.map((file) => [file.publishedAt.toISOString(), file.dateFrom])).toEqual([[date, dateFrom]]);
});
