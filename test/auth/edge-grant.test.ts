import { hkdfSync } from "node:crypto";
import { CompactEncrypt, EncryptJWT } from "jose";
import { describe, expect, test } from "vitest";
import { parseToken } from "../../src/auth/bundle.ts";
import { openEdgeGrant, sealEdgeGrant } from "../../src/auth/edge-grant.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import { utf8 } from "../../src/lib/bytes.ts";

const key = () => crypto.getRandomValues(new Uint8Array(32));
const [old, live] = [key(), key()];
const now = new Date("2026-11-23T10:00:00Z");
const [podA, podB] = ["pod-a", "pod-b"] as PodId[] as [PodId, PodId];
const endsAt = new Date(now.getTime() + 300_000);
const grant = { pod: podA, repositories: ["acme/app", "acme/other"], endsAt };
const open = (sealed: string, pod = podA, edgeKeys = [live], at = now) =>
  openEdgeGrant(sealed, pod, { edgeKeys, now: at }).then((access) => (access === "forged" ? null : access));

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

describe("grant of the edge's own", () => {
  test("it allows to pull its repositories at its Pod, with either live key, until it ends", async () => {
    const sealed = await sealEdgeGrant(grant, { edgeKeys: [old] });
    const access = grant.repositories.map((name) => ({ type: "repository", name, actions: ["pull"] }));
    expect(await open(sealed, podA, [live, old])).toEqual(access);
    expect(await open(sealed, podA, [live])).toBeNull();
    expect(await open(sealed, podB, [old])).toBeNull();
    expect(await open(sealed, podA, [old], new Date(endsAt.getTime() - 1_000))).toEqual(access);
    expect(await open(sealed, podA, [old], endsAt)).toBeNull();
  });

  test("it is forged only if no key opens it, not if it has ended or is for another Pod", async () => {
    const sealed = await sealEdgeGrant(grant, { edgeKeys: [old] });
    const ports = { edgeKeys: [live, old], now };
    expect(await openEdgeGrant(sealed, podB, ports)).toBeNull();
    expect(await openEdgeGrant(sealed, podA, { ...ports, now: endsAt })).toBeNull();
    expect(await openEdgeGrant(sealed, podA, { ...ports, edgeKeys: [live] })).toBe("forged");
    expect(await openEdgeGrant(sealed.slice(0, -4), podA, ports)).toBe("forged");
  });

  test("with any character changed, cut or added it allows nothing", async () => {
    const sealed = await sealEdgeGrant(grant, { edgeKeys: [live] });
    for (let index = 0; index < sealed.length; index += 1) {
      // We flip the character's highest bit, because the lowest bits of a segment's last character may be unused.
      const other = alphabet[alphabet.indexOf(sealed[index] ?? "") ^ 32] ?? "A";
      const changed = `${sealed.slice(0, index)}${other}${sealed.slice(index + 1)}`;
      expect(await open(changed)).toBeNull();
    }
    for (const text of ["", "..", sealed.slice(1), sealed.slice(0, -1), `${sealed}A`, `${sealed}.`, `edge.${sealed}`]) {
      expect(await open(text)).toBeNull();
    }
  });

  const claims = { repositories: grant.repositories, aud: podA, exp: endsAt.getTime() / 1000 };
  /** Seals as the edge does, but with any claims, header and label of the key. */
  const sealed = (payload: object, header: { alg: string; enc: string } = dir, label = "edge-grant") =>
    new EncryptJWT({ ...payload }).setProtectedHeader(header).encrypt(rawKey(label));
  const rawKey = (label: string) => new Uint8Array(hkdfSync("sha256", live, "", label, 32));
  const dir = { alg: "dir", enc: "A256GCM" };

  test("a grant that the same key seals with the same claims is good, so each one below is refused only for its one difference", async () => {
    expect(await open(await sealed(claims))).toHaveLength(2);
  });

  test.each<[string, () => Promise<string>]>([
    ["for another use of the key", () => sealed(claims, dir, "upload-pin")],
    ["without an end", () => sealed({ ...claims, exp: undefined })],
    ["without a Pod", () => sealed({ ...claims, aud: undefined })],
    ["for no repositories", () => sealed({ ...claims, repositories: undefined })],
    ["for repositories that are text", () => sealed({ ...claims, repositories: "acme/app" })],
    ["for repositories that are numbers", () => sealed({ ...claims, repositories: [7] })],
    ["with access as a Pod's token has it", () => sealed({ aud: podA, exp: claims.exp, access: [] })],
    ["from a time to come", () => sealed({ ...claims, nbf: claims.exp - 1 })],
    ["with a key wrapped by it", () => sealed(claims, { alg: "A256GCMKW", enc: "A256GCM" })],
    [
      "as bytes that are not JSON",
      async () => new CompactEncrypt(utf8("{")).setProtectedHeader(dir).encrypt(rawKey("edge-grant")),
    ],
  ])("a grant that is sealed %s allows nothing", async (_, make) => {
    expect(await open(await make())).toBeNull();
  });

  test("no part of a bundle is read both as a Pod's token and as a grant of the edge's own", async () => {
    const text = await sealEdgeGrant(grant, { edgeKeys: [live] });
    const parts = (token: string) => {
      const parsed = parseToken(token);
      return parsed.ok ? (parsed.value.kind === "bundle" ? parsed.value.parts : parsed.value.kind) : parsed.error;
    };
    const jwt = "eyJh.eyJi.c2ln";
    expect(parts(`pods.v1.pod-a/edge.${text}`)).toEqual([{ kind: "edge", pod: podA, sealed: text }]);
    expect(parts(`pods.v1.pod-a/edge.${text}~pod-b/${jwt}`)).toEqual([
      { kind: "edge", pod: podA, sealed: text },
      { kind: "pod", pod: podB, jwt },
    ]);
    const malformed = [
      ...[`edge.${text}`, text, `pods.v1.pod-a/${text}`, `pods.v1.pod-a/edge.${jwt}`, "pods.v1.pod-a/edge."],
      ...[`pods.v1.pod-a/edge.edge.${text}`, `pods.v1.pod-a/EDGE.${text}`, `pods.v1.pod-a/edge${text}`],
      ...[`pods.v1.pod-a/edge.${text}~pod-a/${jwt}`, `pods.v1.pod-a/${jwt}~pod-a/edge.${text}`],
      `pods.v1.pod-a/edge.${text.replace("..", `.${"e".repeat(32 * 1024)}.`)}`,
    ];
    expect(malformed.map(parts)).toEqual(malformed.map(() => "malformed"));
    // A part with three segments is read as a Pod's JWT. No Pod accepts this JWT, because `edge` is not a header.
    expect(parts(`pods.v1.pod-a/edge.eyJi.c2ln`)).toEqual([{ kind: "pod", pod: podA, jwt: "edge.eyJi.c2ln" }]);
  });
});
