import { describe, expect, test } from "vitest";
import { differences, regressions } from "./compare.ts";
import { faults } from "./outcome.ts";
import { registries } from "./registries.ts";
import { parseReport, type Report } from "./report.ts";

const text = (tag: string, received: string) => `
OCI Conformance Test: FAIL
  OCI Conformance Test/tag: ${tag}
    OCI Conformance Test/tag/get: ${tag}
  OCI Conformance Test/delete: FAIL
   - delete failed: unexpected status code, expected one of [202], received ${received}
  OCI Conformance Test/skipped: Skip

OCI Conformance Result: FAIL
  Pass................: 7
  FAIL................: 2
  Skip................: 1
`;

function report(tag = "Pass", received = "405"): Report {
  const parsed = parseReport(text(tag, received));
  if (parsed === null) throw new Error("no report");
  return parsed;
}

describe("conformance report", () => {
  test("every row is read with its statuses, and so are the totals", () => {
    expect(report().rows.map(({ name, status }) => `${name} ${status}`)).toEqual([
      "all FAIL",
      "tag Pass",
      "tag/get Pass",
      "delete FAIL",
      "skipped Skip",
    ]);
    expect(report().rows[3]?.received).toEqual(["405"]);
    expect(report().totals).toMatchObject({ Pass: 7, FAIL: 2, Skip: 1 });
    expect(parseReport("killed half-way")).toBeNull();
  });

  test("two equal reports do not differ", () => expect(differences(report(), report())).toEqual([]));

  test("two reports differ by the result of a row", () => {
    expect(differences(report(), report("FAIL"))).toEqual([{ name: "tag/get", straight: "Pass", edge: "FAIL" }]);
  });

  test("two reports differ by the status that a row failed with", () => {
    expect(differences(report(), report("Pass", "500"))).toMatchObject([
      { name: "delete", straight: "FAIL (received 405)", edge: "FAIL (received 500)" },
    ]);
  });

  test("two reports differ by a row that only one has, and by totals", () => {
    const short = { ...report(), rows: report().rows.slice(0, -1) };
    expect(differences(report(), short)).toEqual([{ name: "skipped", straight: "Skip", edge: "absent" }]);
    const more = { ...report(), totals: { ...report().totals, Pass: 8 } };
    expect(differences(report(), more)).toMatchObject([{ straight: "7", edge: "8" }]);
  });

  test("a row that the toy Pod fails and distribution passes is a regression", () => {
    expect(regressions(report("FAIL").rows, report().rows)).toMatchObject([{ name: "tag" }, { name: "tag/get" }]);
    expect(regressions(report().rows, report("FAIL").rows)).toEqual([]);
  });

  test("a report with too few passing rows, or without a redirect, is a fault", () => {
    const registry = registries.find(({ id }) => id === "registry");
    if (registry === undefined) throw new Error("no registry to compare");
    expect(faults([{ registry, straight: report(), edge: report(), blobRedirects: 0 }])).toEqual([
      "docker-registry 2.8: straight passes 7 rows, 715 are known to pass",
      "docker-registry 2.8: the edge redirected no blob",
    ]);
  });
});
