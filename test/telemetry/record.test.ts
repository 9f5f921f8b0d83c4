import { expect, test } from "vitest";
import { redactPath } from "../../src/telemetry/record.ts";

test("secret parameters of a path are redacted for the log, and all others stay", () => {
  const url = new URL("http://edge/v2/acme/app/blobs/uploads/1?_state=s&digest=d&_pod=p&p%61ssword=x&scope=a%20b");
  expect(redactPath(url)).toBe(
    "/v2/acme/app/blobs/uploads/1?_state=redacted&digest=d&_pod=redacted&password=redacted&scope=a%20b",
  );
  expect(redactPath(new URL("http://edge/v2/"))).toBe("/v2/");
});

test("of a query with more parameters than any endpoint takes, the log has only that", () => {
  const path = (count: number) => redactPath(new URL(`http://edge/-/health?${Array(count).fill("a").join("&")}`));
  expect(path(300)).toBe(`/-/health?${"a&".repeat(299)}a`);
  expect(path(301)).toBe("/-/health?more-than-300-parameters");
});
