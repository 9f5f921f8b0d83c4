import fc from "fast-check";
import { base64url, utf8 } from "../../src/lib/bytes.ts";
import { lineOf, wordOf } from "./fuzz.ts";
import { digest, repositoryName } from "./generators.ts";

/** Every made-up secret of a hostile request contains this, and nothing else does. No answer and no log line may contain it. */
export const canary = "canary7f3b9c";

/** What hostile requests are made from. The tokens are valid. */
export type Materials = {
  readonly tokens: readonly string[];
  readonly repositories: readonly string[];
  readonly blobs: readonly (readonly [repository: string, digest: string])[];
  /** A routable token of GitLab, which names its cell, and so its Pod. */
  readonly password: string;
};

const manyDigits = "9".repeat(20);
const crlf = "%0d%0aX-Injected:%201";

export const nameOf = ({ repositories }: Materials) =>
  fc.oneof({ arbitrary: fc.constantFrom(...repositories), weight: 3 }, repositoryName);
const digestsOf = ({ blobs }: Materials): readonly string[] => [...new Set(blobs.map(([, each]) => each))];
export const digestOf = (materials: Materials) => fc.oneof(fc.constantFrom(...digestsOf(materials)), digest);
/** A repository with a digest; in half of the pairs the repository has that blob. */
export const blobOf = (materials: Materials) =>
  fc.oneof(fc.constantFrom(...materials.blobs), fc.tuple(nameOf(materials), digestOf(materials)));

const actions = fc.constantFrom("pull", "pull,push", "*", "pull,pull", "delete", "PULL", "", "pull%20", 'pull"');
const scope = (materials: Materials) =>
  fc.oneof(
    fc.tuple(nameOf(materials), actions).map(([name, asked]) => `repository:${name}:${asked}`),
    fc.constantFrom(
      "registry:catalog:*",
      "registry:statistics:*",
      "repository::pull",
      ":::",
      "repository:acme/../globex/private:pull",
      "repository:Globex/private:pull",
      "repository:globex/private:x:pull",
      "\0repository:acme/private:pull",
    ),
  );
/** The value of one `scope` parameter: one or more scopes, joined as clients join them or as no client does. */
const scopes = (materials: Materials) =>
  fc
    .tuple(fc.array(scope(materials), { minLength: 1, maxLength: 3 }), fc.constantFrom(" ", "  ", "\n", "\t", ","))
    .map(([each, glue]) => encodeURIComponent(each.join(glue)));

const oddValue = fc.constantFrom("", "%", "%zz", "%00", "%C3%28", crlf, "-1", "0", manyDigits, "1e9", '"', "a%26b=c");
const secretName = wordOf("_state _pod password refresh_token access_token pass%77ord");
const plainName = fc.oneof(
  wordOf(`n last digest mount from account client_id service origin _after %6e fr%6Fm mount[] artifactType offline_token
    grant_type username ${"x".repeat(300)}`),
  fc.constant(""),
);

export const pair = (materials: Materials): fc.Arbitrary<string> =>
  fc.oneof(
    fc.tuple(plainName, oddValue).map((parts) => parts.join("=")),
    fc.tuple(fc.constantFrom("from", "last"), nameOf(materials)).map((parts) => parts.join("=")),
    fc.tuple(fc.constantFrom("digest", "mount"), digestOf(materials)).map((parts) => parts.join("=")),
    secretName.map((name) => `${name}=${canary}`),
    fc.constantFrom("password", "refresh_token").map((name) => `${name}=${materials.password}`),
    scopes(materials).map((value) => `scope=${value}`),
    fc.constantFrom("service=registry-edge", "service=pod-b-registry", "n=1", "grant_type=password", "username=demo"),
  );

const part = (text: string): string => base64url(utf8(text));
const unknownKey = '{"alg":"RS256","kid":"x"}';
const headers = [
  unknownKey,
  '{"alg":"none"}',
  '{"alg":"RS256","alg":"none"}',
  '{"alg":"RS256","kid":7}',
  "{",
  "[]",
  "null",
  "\0",
];
const claims = [
  '{"exp":1e999}',
  '{"exp":9999999999,"exp":"x","access":{}}',
  '{"access":[{"type":"repository","name":"acme/private","actions":["pull"]}],"access":null}',
  '{"__proto__":{"access":[]},"aud":[[]]}',
  '{"exp":true,"iss":{},"aud":7,"nbf":"x","access":"*"}',
  "[".repeat(2000),
  `{"x":"${"x".repeat(9000)}"}`,
  "{",
  "null",
  "\u{1f600}",
];

/** Signed tokens with another signature, and often with another header or other claims. None of them can be verified. */
const mutated = ({ tokens }: Materials): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.constantFrom(...tokens),
      fc.option(fc.constantFrom(...headers).map(part)),
      fc.option(fc.constantFrom(...claims).map(part)),
      fc.constantFrom(`${canary}`, `${canary}.${canary}`, `${canary}${"A".repeat(330)}`, ""),
    )
    .map(([token, header, payload, signature]) => {
      const [first = "", second = ""] = token.split(".").slice(-3);
      const before = token.slice(0, token.length - token.split(".").slice(-3).join(".").length);
      return `${before}${header ?? first.replace(/^.*\//, "")}.${payload ?? second}.${signature}`;
    });

const odd = lineOf(`
  Bearer
  Basic
  Basic !!!
  Negotiate ${canary}
  Bearer ${canary}
  Bearer pods.v1.
  Bearer \xe9\xff
  Basic ${btoa(`demo:${canary}`)}
  Basic ${btoa(canary)}
  Basic ${btoa("demo:demo")}
  basic  ${btoa("demo:demo")}
  Bearer pods.v1.pod-a/${canary}.b.c~pod-b/${canary}.b.c
  Bearer ${`${canary}.`.repeat(3)}
  Bearer pods.v1.pod-a/${canary.repeat(900)}.b.c`);

/** An Authorization value with a bad token or password, or with a good token that is written in an unusual way. */
export const badAuthorization = (materials: Materials): fc.Arbitrary<string> =>
  fc.oneof(
    odd,
    fc.constant(`Basic ${btoa(`anyone:${materials.password}`)}`),
    mutated(materials).map((token) => `Bearer ${token}`),
    fc
      .tuple(
        fc.constantFrom("bearer ", "BEARER  ", "Bearer\t", "Basic ", "Bearer pods.v1.pod-b/", "Token "),
        fc.constantFrom(...materials.tokens),
        fc.constantFrom("", " ", ",", "~", "~pod-b/a.b.c", `~pod-b/${part(unknownKey)}.e30.${canary}`, " Bearer x"),
      )
      .map((parts) => parts.join("")),
  );

const manifest = (materials: Materials) =>
  JSON.stringify({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: digestsOf(materials).map((each) => ({
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      digest: each,
      size: 1,
    })),
  });

/** Bodies of forms and manifests. The last body contains a second request, which a server would serve if it counted the length wrong. */
export const body = (materials: Materials): fc.Arbitrary<string> =>
  fc.oneof(
    fc.array(pair(materials), { maxLength: 5 }).map((pairs) => pairs.join("&")),
    fc.constantFrom(
      "",
      "{",
      "null",
      '{"manifests":7}',
      "[".repeat(5000),
      "\0\xff",
      "&".repeat(300),
      manifest(materials),
    ),
    fc.constantFrom(`scope=${"repository:acme/x:pull%20".repeat(70)}`, "x".repeat(70_000)),
    fc.constant("0\r\n\r\nGET /v2/globex/private/manifests/smuggled HTTP/1.1\r\nHost: edge.test\r\n\r\n"),
  );
