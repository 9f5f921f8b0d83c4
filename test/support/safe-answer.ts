import { expect } from "vitest";
import { parseJsonObject } from "../../src/lib/json.ts";
import type { RawAnswer } from "./raw-exchange.ts";

export const headerOf = ({ headers }: RawAnswer, name: string): readonly string[] =>
  headers.filter(([known]) => known === name).map(([, value]) => value);

/** Whether workerd itself has refused the request, because it is not valid HTTP. The Worker never sees such a request. */
export const isPlatforms = (answer: RawAnswer): boolean =>
  [400, 431, 501].includes(answer.status) && /^(invalid |ERROR: |Bad Request$)/.test(answer.body);

/** Expects that an answer shows no bug of the edge, leads to no foreign place, and has no injected header. */
export function expectSafe(answer: RawAnswer, edgeHost: string, blobHosts: readonly string[]): void {
  expect(answer.status).not.toBe(500);
  expect(answer.body).not.toMatch(/^\s+at |\.[jt]s:\d+|Error: /m);
  for (const [name, value] of answer.headers) {
    expect(name).toMatch(/^[!#$%&'*+.^_`|~0-9a-z-]+$/);
    expect(name).not.toBe("x-injected");
    expect(value).toMatch(/^[\t\x20-\x7e\x80-\xff]*$/);
  }
  const links = headerOf(answer, "link").flatMap((link) =>
    [...link.matchAll(/<([^>]*)>/g)].map(([, target = ""]) => target),
  );
  for (const place of [...headerOf(answer, "location"), ...links]) expectOwnPlace(place, answer, blobHosts);
  const challenges = headerOf(answer, "www-authenticate");
  expect(challenges.length).toBeLessThanOrEqual(1);
  for (const challenge of challenges) {
    if (challenge === 'Bearer realm="probe"') continue;
    const [, realm] =
      /^Bearer realm="([^"]*)",service="registry-edge"(?:,scope="[^"]*")?(?:,error="[a-z_]+")?$/.exec(challenge) ?? [];
    expect(realm).toBe(`${new URL(`http://${edgeHost}`).origin}/jwt/auth`);
  }
}

/** Expects a path that every client resolves to the edge (RFC 3986 §4.2, WHATWG URL), or a redirect to a blob in one of the Pod's stores. */
function expectOwnPlace(place: string, { status }: RawAnswer, blobHosts: readonly string[]): void {
  const { host } = new URL(place, "http://edge.invalid");
  if (/^\/(?![/\\])/.test(place)) expect(host).toBe("edge.invalid");
  else expect([status, blobHosts.includes(host), place]).toEqual([307, true, place]);
}

/** Expects one error as the OCI distribution spec defines it ("Error Codes"). */
export function expectOciError(answer: RawAnswer): void {
  expect(headerOf(answer, "content-type")).toEqual(["application/json"]);
  const { errors } = parseJsonObject(Buffer.from(answer.body, "latin1").toString()) ?? {};
  expect(errors).toEqual([
    expect.objectContaining({ code: expect.stringMatching(/^[A-Z_]+$/), message: expect.any(String) }),
  ]);
}
