import { CompactEncrypt, jwtDecrypt } from "jose";
import { JOSEError, JWTClaimValidationFailed, JWTExpired } from "jose/errors";
import * as v from "valibot";
import type { PodId } from "../directory/pod-id.ts";
import { utf8 } from "../lib/bytes.ts";
import { deriveAesKey, type EdgeKeys } from "../lib/derive-key.ts";
import type { Access } from "../oci/scope.ts";

/**
 * A grant that the edge gives by itself while a Pod's token service fails. It is encrypted and not signed, so that no part of it looks like a token
 * that could be sent to a Pod.
 */
type EdgeGrant = { readonly pod: PodId; readonly repositories: readonly string[]; readonly endsAt: Date };

/**
 * GitLab's own tokens live this long. A user who loses a right keeps it until their grant ends. So a grant of the edge must not last longer than a
 * token of GitLab.
 */
export const edgeGrantSeconds = 300;

type Ports = { readonly edgeKeys: EdgeKeys; readonly now: Date };

const keyLabel = "edge-grant";
const keyManagement = "dir";
const encryption = "A256GCM";

export async function sealEdgeGrant(
  { pod, repositories, endsAt }: EdgeGrant,
  { edgeKeys: [edgeKey] }: Pick<Ports, "edgeKeys">,
): Promise<string> {
  if (edgeKey === undefined) throw new Error("no edge key is configured");
  const payload = { repositories, aud: pod, exp: Math.floor(endsAt.getTime() / 1_000) };
  return new CompactEncrypt(utf8(JSON.stringify(payload)))
    .setProtectedHeader({ alg: keyManagement, enc: encryption })
    .encrypt(await deriveAesKey(edgeKey, keyLabel));
}

const claims = v.object({ repositories: v.array(v.string()) });

/** Returns what a grant allows at this Pod. Null if the grant has ended or was given for another Pod, `forged` if no edge key opens it. */
export async function openEdgeGrant(
  sealed: string,
  pod: PodId,
  { edgeKeys, now }: Ports,
): Promise<readonly Access[] | "forged" | null> {
  // While an edge key is being replaced, there are two keys, and clients still hold grants that were sealed with the older one.
  for (const edgeKey of edgeKeys) {
    const payload = await decrypt(sealed, pod, { edgeKey, now });
    if (payload === "forged") continue;
    const parsed = v.safeParse(claims, payload);
    return parsed.success
      ? parsed.output.repositories.map((name) => ({ type: "repository", name, actions: ["pull"] }))
      : null;
  }
  return "forged";
}

async function decrypt(
  sealed: string,
  pod: PodId,
  { edgeKey, now }: { readonly edgeKey: EdgeKeys[number]; readonly now: Date },
): Promise<unknown> {
  try {
    const { payload } = await jwtDecrypt(sealed, await deriveAesKey(edgeKey, keyLabel), {
      keyManagementAlgorithms: [keyManagement],
      contentEncryptionAlgorithms: [encryption],
      audience: pod,
      requiredClaims: ["aud", "exp"],
      currentDate: now,
    });
    return payload;
  } catch (error) {
    if (error instanceof JWTExpired || error instanceof JWTClaimValidationFailed) return null;
    if (error instanceof JOSEError || error instanceof TypeError) return "forged";
    throw error;
  }
}
