import { type KeyPairKeyObjectResult, sign } from "node:crypto";

/** One DER value: its tag, its length and its content (X.690 §8.1). */
function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (...contents: readonly Uint8Array[]) => der(0x30, ...contents);
const utcTime = (text: string) => der(0x17, Buffer.from(text));
const signatureAlgorithms: Readonly<Record<string, string>> = {
  rsa: "300d06092a864886f70d01010b0500",
  ec: "300a06082a8648ce3d040302",
};

/** The smallest valid certificate (RFC 5280 §4.1). A registry's `rootcertbundle` is a file of such certificates. */
export function selfSignedCertificate({ publicKey, privateKey }: KeyPairKeyObjectResult): string {
  const algorithm = Buffer.from(signatureAlgorithms[publicKey.asymmetricKeyType ?? ""] ?? "", "hex");
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1])),
    algorithm,
    sequence(),
    sequence(utcTime("260101000000Z"), utcTime("360101000000Z")),
    sequence(),
    publicKey.export({ type: "spki", format: "der" }),
  );
  const signature = Buffer.concat([Buffer.from([0]), sign("sha256", toBeSigned, privateKey)]);
  const certificate = sequence(toBeSigned, algorithm, der(0x03, signature)).toString("base64");
  return `-----BEGIN CERTIFICATE-----\n${certificate.match(/.{1,64}/g)?.join("\n")}\n-----END CERTIFICATE-----\n`;
}
