import * as v from "valibot";
import { base64, utf8 } from "../lib/bytes.ts";
import { encodePath, encodeQuery } from "./encode.ts";
import { base64HmacKey } from "./keys.ts";
import { defineSigner, secretEntries, time } from "./signer.ts";
import { located, nonEmpty, originUrl, sealed, storeConfig } from "./store.ts";
import type { UrlWindow } from "./window.ts";

/** The oldest SAS version whose text to sign is the same as today's, so emulators and national clouds with older software accept it too. */
const version = "2020-12-06";

const key = base64HmacKey("SHA-256");
const delegationKey = v.objectAsync({
  signedObjectId: nonEmpty,
  signedTenantId: nonEmpty,
  signedStartsOn: time,
  signedExpiresOn: time,
  signedService: v.literal("b"),
  signedVersion: nonEmpty,
  value: key,
});

/** The account's key, or a user delegation key in the form in which Azure's SDK returns it. Azure issues delegation keys for at most seven days. */
const secret = v.unionAsync([
  v.objectAsync({ ...secretEntries, accountKey: key }),
  v.pipeAsync(
    v.objectAsync({ ...secretEntries, userDelegationKey: delegationKey }),
    v.transform(({ userDelegationKey, expiresAt = userDelegationKey.signedExpiresOn }) => ({
      userDelegationKey,
      expiresAt: new Date(Math.min(+expiresAt, +userDelegationKey.signedExpiresOn)),
    })),
  ),
]);

/**
 * Azure Blob Storage: a service SAS or a user delegation SAS for one blob. The signature does not cover the host, so `endpoint` may be a CDN or a
 * private link.
 */
export const azure = defineSigner({
  config: storeConfig("azure", {
    ...located,
    /** `https://<account>.blob.core.windows.net`, or another host that serves the account's blobs. */
    endpoint: originUrl,
    account: v.pipe(v.string(), v.regex(/^[a-z0-9]{3,24}$/)),
    container: v.pipe(v.string(), v.regex(/^[a-z0-9$][a-z0-9-]{1,61}[a-z0-9]$/)),
    /**
     * Whether each object's key begins with a slash, as in stores of docker-registry 2.8 and of GitLab's registry with `legacyrootprefix: true`
     * (`trimlegacyrootprefix: false`). Azure's portal shows the directory before that slash as `<no name>`.
     */
    legacyRoot: v.optional(v.boolean()),
    /** `path` is for emulators, whose URLs have the account in the path and not in the host name. */
    addressing: v.optional(v.picklist(["virtual-host", "path"]), "virtual-host"),
    credentials: sealed,
  }),
  secret,
  target: ({ account, container }) => `${account}/${container}`,
  origin: ({ endpoint }) => endpoint,
  // Each line is one unescaped field. The fields that we do not use are empty lines: st, si, sip, snapshot, ses and the five headers of the answer.
  // With a delegation key, saoid, suoid and scid take the place of si.
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

/** Returns the fields of a user delegation key in the order in which they are signed. Null if the store has the account's key. */
function delegationFields(credentials: v.InferOutput<typeof secret>) {
  if ("accountKey" in credentials) return null;
  const { userDelegationKey: delegation } = credentials;
  return {
    skoid: delegation.signedObjectId,
    sktid: delegation.signedTenantId,
    skt: sasTime(delegation.signedStartsOn),
    ske: sasTime(delegation.signedExpiresOn),
    sks: delegation.signedService,
    skv: delegation.signedVersion,
  };
}

const sasTime = (time: Date): string => time.toISOString().replace(/\.\d{3}/, "");
