import { afterEach, describe, expect, test, vi } from "vitest";
import { readClient } from "../../src/directory/clients.ts";
import type { AttributedAnswer } from "../../src/edge/attribute.ts";
import { createRequestLog } from "../../src/edge/log-request.ts";
import type { Digest } from "../../src/oci/digest.ts";

const digest = `sha256:${"a".repeat(64)}` as Digest;
const url = new URL("https://edge.test/v2/acme/app/manifests/1");
const always = { rate: () => 1, random: () => 0 };
const never = { rate: () => 0, random: () => 0 };

const written: string[] = [];
vi.spyOn(console, "log").mockImplementation((line: string) => void written.push(line));
afterEach(() => void written.splice(0));

function log(headers: Readonly<Record<string, string>>, { cf = {}, sampling = always } = {}) {
  // Node's `Request` lacks the property `cf`, which the platform adds.
  const request = Object.defineProperty(new Request(url, { headers }), "cf", { value: cf });
  const trace = { kvReads: 0, kvKeys: 0, podRequests: 0 };
  return createRequestLog({ request, client: readClient(request), url, trace, startedAt: new Date(), sampling });
}

const answer = (more: Partial<AttributedAnswer> = {}, headers: Readonly<Record<string, string>> = {}) =>
  ({
    response: new Response(null, { headers }),
    outcome: "forwarded",
    endpoint: "manifest",
    repository: "acme/app",
    ...more,
  }) satisfies AttributedAnswer;
const line = (): Record<string, unknown> => JSON.parse(written.at(-1) ?? "{}") as Record<string, unknown>;

describe("log line:", () => {
  test("it says where the client is, as the platform saw it", () => {
    log({ "CF-Connecting-IP": "2001:db8::7", "CF-Ray": "8f-FRA" }, { cf: { country: "DE", asn: 64_500 } })(answer());
    expect(line()).toMatchObject({ client: "2001:db8::7", country: "DE", asn: 64_500, ray: "8f-FRA", sample: 1 });
  });

  test("what is not known about the client is left out", () => {
    log({})(answer());
    for (const member of ["client", "country", "asn", "userAgent", "ray", "subject", "digest"]) {
      expect(line()).not.toHaveProperty(member);
    }
  });

  test("what the platform gives as a wrong type is left out", () => {
    log({}, { cf: { country: 7, asn: "64500" } })(answer());
    expect(line()).not.toHaveProperty("country");
    expect(line()).not.toHaveProperty("asn");
  });

  test.each<[string, Partial<AttributedAnswer>, string, string | undefined]>([
    ["the digest that the request names", { digest }, `sha256:${"b".repeat(64)}`, digest],
    ["for a tag, the digest that the answer names", { digest: null }, digest, digest],
    ["no digest that the Pod made up", { digest: null }, `sha256:${"A".repeat(64)}`, undefined],
    ["no digest that is too long", { digest: null }, `sha999:${"a".repeat(10_000)}`, undefined],
  ])("it has %s", (_, asked, told, expected) => {
    log({})(answer(asked, { "Docker-Content-Digest": told }));
    expect(line()["digest"]).toBe(expected);
  });

  test("a client's long texts are cut", () => {
    const [long, x] = ["x".repeat(10_000), "x".repeat(256)];
    log({ "User-Agent": long, "CF-Connecting-IP": long, "CF-Ray": long }, { cf: { country: long } })(answer());
    const short = "x".repeat(64);
    expect(line()).toMatchObject({ userAgent: x, client: short, ray: short, country: short });
  });

  test("a request without a line costs none: neither its headers nor its place are read", () => {
    const unread = { get: () => expect.unreachable("nothing is read for a line that is not written") };
    const request = Object.defineProperties({} as Request, {
      headers: unread,
      cf: unread,
      method: unread,
      body: unread,
    });
    const trace = { kvReads: 0, kvKeys: 0, podRequests: 0 };
    createRequestLog({ request, client: readClient(request), url, trace, startedAt: new Date(), sampling: never })(
      answer(),
    );
    expect(written).toEqual([]);
  });

  test("a request whose line was drawn once is not drawn again when its client leaves", () => {
    let drawn = 0;
    const write = log({}, { sampling: { rate: () => 0.5, random: () => (drawn++ === 0 ? 0.9 : 0) } });
    write(answer());
    write(answer({ outcome: "client-left" }));
    expect([written.length, drawn]).toEqual([0, 1]);
  });
});
