import { expect, test } from "vitest";
import { advice, type Check } from "../../src/podctl/doctor/findings.ts";
import { formatChecks } from "../../src/podctl/doctor/report.ts";

test("doctor's table shows a Pod's answer on one line, even if the answer has a line break", () => {
  const text = 'tokens say "x\npod-b  token  ok  fine", the record "i"';
  const row: Check = { pod: "pod-a", check: "issuer", status: "finding", finding: "issuer-wrong", text };
  const table = formatChecks([row]);
  expect(table.split("\n").filter((line) => line.startsWith("pod-b"))).toEqual([]);
  expect(table).toContain("x\\u000apod-b");
});

test("doctor's advice about a store that refuses names the prefix, because S3 may answer 403 for a missing blob", () => {
  const text = "GET is answered 403 AccessDenied";
  const row: Check = { pod: "pod-a", check: "store 0 (s3)", status: "finding", finding: "store-refuses", text };
  expect(formatChecks([row])).toMatch(/prefix.*s3:ListBucket/);
});

test("every finding of doctor says what to do", () => {
  for (const text of Object.values(advice)) expect(text.length).toBeGreaterThan(20);
});
