import * as v from "valibot";
import { base64, utf8 } from "../lib/bytes.ts";
import { encodePath, encodeQuery } from "./encode.ts";
import { base64HmacKey } from "./keys.ts";
import { defineSigner, secretEntries } from "./signer.ts";
import { located, nonEmpty, originUrl, sealed, storeConfig } from "./store.ts";
import type { UrlWindow } from "./window.ts";

/** This is the oldest version that uses today's string to sign, so emulators and sovereign clouds know it too. */
const version = "2020-12-06";

const key = base64HmacKey("SHA-256");
const delegationKey = v.objectAsync({
  signedObjectId: nonEmpty,
  signedTenantId: nonEmpty,
  signedStartsOn: v.pipe(v.string(), v.isoTimestamp()),
  signedExpiresOn: v.pipe(v.string(), v.isoTimestamp()),
  signedService: v.literal("b"),
  signedVersion: nonEmpty,
  value: key,
});

/** The account's key, or a user delegation key in the form of Azure's SDK. A delegation key ends within seven days. */
const secret = v.unionAsync([
  v.objectAsync({ ...secretEntries, accountKey: key }),
  v.pipeAsync(
    v.objectAsync({ userDelegationKey: delegationKey }),
    v.transform(({ userDelegationKey }) => ({
      userDelegationKey,
      expiresAt: new Date(userDelegationKey.signedExpiresOn),
    })),
  ),
]);

/** Azure Blob Storage: a service SAS or a user delegation SAS for one blob. The host is not signed, so the URL may name a CDN or a private link. */
export const azure = defineSigner({
  config: storeConfig("azure", {
    ...located,
    /** `https://<account>.blob.core.windows.net`, or another host of the account. */
    endpoint: originUrl,
    account: v.pipe(v.string(), v.regex(/^[a-z0-9]{3,24}$/)),
    container: v.pipe(v.string(), v.regex(/^[a-z0-9$][a-z0-9-]{1,61}[a-z0-9]$/)),
    /**
     * Whether each key begins with a slash, so that two slashes follow the container in the path. docker-registry 2.8 writes such keys, and so does
     * GitLab's registry with `legacyrootprefix: true` (`trimlegacyrootprefix: false`). Azure's portal shows the root as `<no name>`.
     */
    legacyRoot: v.optional(v.boolean()),
    /** Emulators have the account in the path, not in the host name. */
    addressing: v.optional(v.picklist(["virtual-host", "path"]), "virtual-host"),
    credentials: sealed,
  }),
  secret,
  target: ({ account, container }) => `${account}/${container}`,
  origin: ({ endpoint }) => endpoint,
  // Each line is one unescaped field. The fields that we do not use are empty lines: st, si, sip, snapshot, ses and five headers; for a delegation
  // key also saoid, suoid and scid.
  textToSign: ({ key: blob, config: { endpoint, account, container }, secret: credentials, window }) => {
    const { sp, se, spr, sv, sr } = fieldsOf(endpoint, window);
    const delegated = delegationFields(credentials);
    return [
      ...[sp, "", se, `/blob/${account}/${container}/${blob}`],
      ...(delegated === null ? [""] : [...Object.values(delegated), "", "", ""]),
      ...["", spr, sv, sr, "", "", "", "", "", "", ""],
    ].join("\n");
  },
  sign: async ({ key: blob, config, secret: credentials, window, attribution }, text) => {
    const { endpoint, account, container, addressing } = config;
    const signingKey = "accountKey" in credentials ? credentials.accountKey : credentials.userDelegationKey.value;
    const sig = base64(await crypto.subtle.sign("HMAC", signingKey, utf8(text)));
    const query = { ...fieldsOf(endpoint, window), ...delegationFields(credentials), sig };
    const path = encodePath(`${addressing === "path" ? `/${account}` : ""}/${container}/${blob}`);
    return `${endpoint}${path}?${encodeQuery([...attribution, ...Object.entries(query)])}`;
  },
});

const fieldsOf = (endpoint: string, window: UrlWindow) => ({
  sp: "r",
  se: sasTime(window.expiresAt),
  spr: endpoint.startsWith("https:") ? "https" : "https,http",
  sv: version,
  sr: "b",
});

/** The fields of a user delegation key in the order in which they are signed; null for the account's own key. */
function delegationFields(credentials: v.InferOutput<typeof secret>) {
  if ("accountKey" in credentials) return null;
  const { userDelegationKey: delegation } = credentials;
  return {
    skoid: delegation.signedObjectId,
    sktid: delegation.signedTenantId,
    skt: sasTime(new Date(delegation.signedStartsOn)),
    ske: sasTime(new Date(delegation.signedExpiresOn)),
    sks: delegation.signedService,
    skv: delegation.signedVersion,
  };
}

const sasTime = (time: Date): string => time.toISOString().replace(/\.\d{3}/, "");
