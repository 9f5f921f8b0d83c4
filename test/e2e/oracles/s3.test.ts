import { expect, test } from "vitest";
import { canonicalRequest, presign, scopedHmac } from "../../../src/signers/sigv4.ts";
import { objectKeys } from "../../signers/object-keys.ts";
import { s3Hosts } from "../../signers/oracle-stores.ts";
import { type Case, sign, window } from "../../signers/sign.ts";
import { describeWith } from "../tools.ts";
import { loadOracle } from "./sdk.ts";

type AccessKey = { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string };
const accessKey = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const sessionKey = { ...accessKey, sessionToken: "IQoJb3JpZ2luX2VjEA//+token==", expiresAt: "2066-11-24T00:00:00Z" };
const region = "eu-central-1";
const endpoint = `https://s3.${region}.amazonaws.com`;
const signatureOf = (url: string) => new URL(url).searchParams.get("X-Amz-Signature");

describeWith(["@aws-sdk/client-s3", "@aws-sdk/s3-request-presigner"], "the s3 signer and AWS's SDK", () => {
  test.each<[string, "path" | "virtual-host", AccessKey]>([
    ["path", "path", accessKey],
    ["virtual host", "virtual-host", accessKey],
    ["path, with a session's key", "path", sessionKey],
    ["virtual host, with a session's key", "virtual-host", sessionKey],
  ])("name the same place and sign alike for every object key, by %s", async (_, addressing, credentials) => {
    const urlOfSdk = sdkSigner(addressing === "path", credentials);
    const config = { endpoint, bucket: "pod-a", region, addressing };
    for (const [index, key] of objectKeys.entries()) {
      const method = index % 2 === 0 ? "GET" : "HEAD";
      const theirs = await urlOfSdk(method, key);
      const ours = new URL(await sign("s3", { key, method, config, secret: credentials }));
      expect([ours.origin, ours.pathname]).toEqual([theirs.origin, theirs.pathname]);
      const asTheirs = await signParametersOf(theirs, ours, method, credentials);
      expect(signatureOf(asTheirs), key).toBe(signatureOf(theirs.href));
    }
  });

  test.each(s3Hosts)("use the same host for a bucket at %s", async (endpoint, { options, url }) => {
    const { S3Client, GetObjectCommand } = loadOracle("@aws-sdk/client-s3");
    const { getSignedUrl } = loadOracle("@aws-sdk/s3-request-presigner");
    const client = new S3Client({ region, credentials: accessKey, ...options });
    const theirs = new URL(await getSignedUrl(client, new GetObjectCommand({ Bucket: "pod-a", Key: "a/b" })));
    const config = { endpoint, region: "auto", bucket: "pod-a", addressing: "virtual-host" };
    const ours = new URL(await sign("s3", { config, secret: accessKey }));
    expect([ours.origin, ours.pathname]).toEqual([theirs.origin, theirs.pathname]);
    expect(`${theirs.origin}${theirs.pathname}`).toBe(url);
  });
});

type Method = NonNullable<Case["method"]>;

function sdkSigner(forcePathStyle: boolean, credentials: AccessKey) {
  const { S3Client, GetObjectCommand, HeadObjectCommand } = loadOracle("@aws-sdk/client-s3");
  const { getSignedUrl } = loadOracle("@aws-sdk/s3-request-presigner");
  const client = new S3Client({ region, endpoint, credentials, forcePathStyle });
  return async (method: Method, key: string) => {
    const command = new (method === "GET" ? GetObjectCommand : HeadObjectCommand)({ Bucket: "pod-a", Key: key });
    return new URL(await getSignedUrl(client, command, { expiresIn: 1200, signingDate: window.issuedAt }));
  };
}

/** AWS's SDK puts more parameters into a URL than we do. So that the signatures can be compared, our code signs the SDK's parameters. */
function signParametersOf(theirs: URL, ours: URL, method: Method, credentials: AccessKey): Promise<string> {
  const parameters = [...theirs.searchParams].filter(
    ([name]) => name !== "X-Amz-Signature" && (name === "X-Amz-Security-Token" || !ours.searchParams.has(name)),
  );
  const request = {
    method,
    origin: theirs.origin,
    path: theirs.pathname,
    host: theirs.host,
    vendor: "X-Amz",
    algorithm: "AWS4-HMAC-SHA256",
    accessKeyId: credentials.accessKeyId,
    service: `${region}/s3/aws4_request`,
    window,
    parameters,
  };
  const start = `AWS4${credentials.secretAccessKey}`;
  const hmac = scopedHmac({ start, secret: credentials, dayKeys: new WeakMap() });
  return presign(request, canonicalRequest(request), hmac);
}
