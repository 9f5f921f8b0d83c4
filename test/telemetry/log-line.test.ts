import { expect, test } from "vitest";
import { plainText, redactPath } from "../../src/telemetry/log-line.ts";

const logged = (path: string): string => redactPath(new URL(path, "http://edge"));

test("the log shows only the values of parameters that are known to be harmless", () => {
  const secrets = [
    ...["sig", "X-Amz-Signature", "X-Amz-Credential", "token", "Password", "p%61ssword", "client_secret"],
    ...["refresh_token", "access_token", "_state", "_pod", "account", "jwt", "private_token", "unheard-of"],
  ];
  for (const name of secrets) {
    const written = logged(`/jwt/auth?scope=a%20b&${name}=s3cret&service=edge`);
    expect(written).toBe(`/jwt/auth?scope=a%20b&${decodeURIComponent(name)}=redacted&service=edge`);
  }
  expect(logged("/v2/")).toBe("/v2/");
  expect(logged("/v2/_catalog?n=2&last=a%2Fb&_after=pod-a%3Aa")).toBe("/v2/_catalog?n=2&last=a%2Fb&_after=pod-a%3Aa");
  expect(logged("/v2/a/blobs/uploads/?mount=sha256:d&from=b")).toBe("/v2/a/blobs/uploads/?mount=sha256:d&from=b");
});

test("the log hides all values in an upload's query, because any of them may be the Pod's secret", () => {
  expect(logged("/v2/acme/app/blobs/uploads/1?_state=s3cret&digest=s3cret&_pod=s3cret&n=s3cret&sig=s3cret")).toBe(
    "/v2/acme/app/blobs/uploads/1?_state=redacted&digest=redacted&_pod=redacted&n=redacted&sig=redacted",
  );
});

test("the log hides a parameter without a value, because its name may be a secret", () => {
  expect(logged("/v2/acme/app/tags/list?glpat-s3cret&n=2&&ZXhhbXBsZQ==&eyJhbGciOi=")).toBe(
    "/v2/acme/app/tags/list?redacted&n=2&&redacted&redacted",
  );
});

test("the log hides a parameter whose name is not plain, because the name may hold a value or a command for a terminal", () => {
  for (const name of [
    "password%3Ds3cret",
    "%C2%9B31m",
    "%1b]0;x%07",
    "%E2%80%AEx",
    "a%20s3cret",
    "%0a{}",
    "x".repeat(65),
  ]) {
    expect(logged(`/v2/acme/app/tags/list?${name}=1&n=2`)).toBe("/v2/acme/app/tags/list?redacted&n=2");
  }
});

test("the log cuts a long path and a long query, and marks the cut", () => {
  const scopes = (count: number) => Array(count).fill("scope=repository:acme/app:pull").join("&");
  const most = 2_000;
  expect(logged(`/jwt/auth?${scopes(200)}`)).toBe(`/jwt/auth?${scopes(200).slice(0, most)}…`);
  expect(logged(`/jwt/auth?${scopes(60)}`)).toBe(`/jwt/auth?${scopes(60)}`);
  expect(logged(`/v2/${"a/".repeat(8_000)}manifests/1?n=1`)).toBe(`/v2/${"a/".repeat(998)}…?n=1`);
});

test("the log hides a secret in a query that is cut, wherever the cut is", () => {
  const before = (characters: number) => `n=${"1".repeat(characters - "n=".length)}`;
  for (const secret of ["sig=s3cret", "p%61ssword=s3cret", "glpat-s3cret", "%C2%9B31m=s3cret"]) {
    for (let kept = 0; kept <= secret.length; kept += 1) {
      const written = logged(`/v2/_catalog?${before(1_999 - kept)}&${secret}&n=${"2".repeat(16_000)}`);
      expect(written).not.toMatch(/s3|glp/);
    }
  }
});

test("the log says only that a query has more parameters than any endpoint takes", () => {
  const path = (count: number) => redactPath(new URL(`http://edge/-/health?${Array(count).fill("n").join("&")}`));
  expect(path(300)).toBe(`/-/health?${"n&".repeat(299)}n`);
  expect(path(301)).toBe("/-/health?more-than-300-parameters");
});

test.each([
  ["a\nb\r\tc\u0000d", "a\ufffdb\ufffd\ufffdc\ufffdd"],
  ["\u001b[2J\u009b2J", "\ufffd[2J\ufffd2J"],
  ["ab\u202ecd\u200b\u2028e", "ab\ufffdcd\ufffd\ufffde"],
  ["half \ud83d", "half \ufffd"],
  [
    "docker/27.3.1 go/go1.22 (linux) \\(Docker-Client; é 🐳)",
    "docker/27.3.1 go/go1.22 (linux) \\(Docker-Client; é 🐳)",
  ],
])("foreign text in a line has nothing that a terminal obeys: %j", (text, shown) => {
  expect(plainText(text, 100)).toBe(shown);
});

test("foreign text in a line is cut, and is never half a character", () => {
  expect(plainText("🐳🐳", 3)).toBe("🐳\ufffd");
  expect(plainText("x".repeat(10_000), 255)).toHaveLength(255);
});
