import { expect, test } from "vitest";
import { objectKeys } from "../../signers/object-keys.ts";
import { readRecorded } from "../../signers/recorded.ts";
import { canonicalOf, config, host, publicX, publicY, secret, urlForms } from "../../signers/s3-v4a-sample.ts";
import { sign, window } from "../../signers/sign.ts";
import { describeWith } from "../tools.ts";
import { loadOracle } from "./sdk.ts";

describeWith(["aws-crt"], "AWS's verifier of SigV4A", () => {
  test.each(urlForms)("accepts our URL for $method and refuses it with another path or signature", async (form) => {
    const { method, attribution } = form;
    const session =
      "sessionToken" in form ? { sessionToken: form.sessionToken, expiresAt: "2066-11-24T00:00:00Z" } : {};
    for (const key of objectKeys) {
      const url = await sign("s3-v4a", { key, method, config, secret: { ...secret, ...session }, attribution });
      expect(isValid(method, url, session.sessionToken), key).toBe(true);
      expect(isValid(method, url.replace("/data", "/date"), session.sessionToken)).toBe(false);
      const forged = url.replace(
        /(X-Amz-Signature=.{20})./,
        (_, start: string) => `${start}${url.includes(`${start}0`) ? 1 : 0}`,
      );
      expect(isValid(method, forged, session.sessionToken)).toBe(false);
    }
  });

  test("accepts the URLs that are recorded for `npm test`", () => {
    const { urls } = readRecorded("s3-v4a");
    for (const form of urlForms) {
      const recorded = Object.entries(urls[form.method] ?? {});
      expect(recorded.length).toBeGreaterThanOrEqual(5);
      const sessionToken = "sessionToken" in form ? form.sessionToken : undefined;
      for (const [key, url] of recorded) expect(isValid(form.method, url, sessionToken), key).toBe(true);
    }
  });
});

/** The verifier makes the canonical request itself, so it finds mistakes in our canonical request, too. */
function isValid(method: string, url: string, sessionToken: string | undefined): boolean {
  const { auth, http } = loadOracle("aws-crt");
  const { pathname, searchParams } = new URL(url);
  const own = [...searchParams].filter(([name]) => !name.startsWith("X-Amz-"));
  const query = own.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  const path = query === "" ? pathname : `${pathname}?${query}`;
  const request = new http.HttpRequest(method, path, new http.HttpHeaders([["host", host]]));
  const signing = {
    algorithm: auth.AwsSigningAlgorithm.SigV4Asymmetric,
    signature_type: auth.AwsSignatureType.HttpRequestViaQueryParams,
    provider: auth.AwsCredentialsProvider.newStatic(secret.accessKeyId, secret.secretAccessKey, sessionToken),
    region: "*",
    service: "s3",
    date: window.issuedAt,
    use_double_uri_encode: false,
    should_normalize_uri_path: false,
    signed_body_value: auth.AwsSignedBodyValue.UnsignedPayload,
    signed_body_header: auth.AwsSignedBodyHeaderType.None,
    expiration_in_seconds: 1200,
  };
  const signature = searchParams.get("X-Amz-Signature") ?? "";
  const canonical = canonicalOf(method, url);
  try {
    return auth.aws_verify_sigv4a_signing(request, signing, canonical, signature, publicX, publicY);
  } catch {
    return false;
  }
}
