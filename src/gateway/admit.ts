import { err, ok, type Result } from "../lib/result.ts";
import { parseDigest } from "../oci/digest.ts";
import { formatEndpoint, type RegistryEndpoint } from "../oci/endpoint.ts";
import type { OciError } from "../oci/errors.ts";
import { parseEndpoint } from "../oci/parse-endpoint.ts";
import { readParameters, valuesOf, withParameters } from "../oci/query.ts";
import { grantParameter, openGrant, type UploadGrant } from "../pods/upload-grant.ts";
import type { GatewayConfig } from "./config.ts";

type UploadEndpoint = Extract<RegistryEndpoint, { readonly kind: "upload" }>;

/** A request that a grant allows. In `target`, the path and query for the registry, only the digest comes from the client's URL. */
export type Admitted = {
  readonly grant: UploadGrant;
  readonly endpoint: UploadEndpoint;
  readonly target: string;
};

/** The client gets `error`, and the log gets `cause`. */
type NotAdmitted = { readonly error: OciError; readonly cause: string };

type Asked = {
  readonly method: string;
  readonly url: URL;
  readonly config: Pick<GatewayConfig, "pod" | "edges" | "keys">;
  readonly now: Date;
};

/** The answer to a grant that does not open, or is not for this upload. Registries give the same answer for an upload that they do not know. */
export const uploadUnknown: OciError = {
  code: "BLOB_UPLOAD_UNKNOWN",
  message: "upload is unknown here, or its time is over; start one with POST …/blobs/uploads/ at the registry",
};
const unknownUpload = (cause: string): Result<never, NotAdmitted> => err({ error: uploadUnknown, cause });

/** The message about a grant from an unknown edge begins with these words. `podctl doctor` recognizes the fault by them. */
export const unknownEdge = "this gateway does not know the edge at";

/** The answer if the gateway's variable EDGE lacks the grant's edge. The client has credentials only for that edge, so no other would do. */
const wrongEdge = (edge: string): NotAdmitted => ({
  error: {
    code: "UNSUPPORTED",
    status: 404,
    message: `${unknownEdge} "${edge}"; the gateway's operator must add this origin to EDGE`,
  },
  cause: `EDGE does not have the grant's edge "${edge}"`,
});

/** Opens the grant of a request, and checks that the request asks for nothing but the granted upload. A refused request reaches no other server. */
export async function admit({ method, url, config, now }: Asked): Promise<Result<Admitted, NotAdmitted>> {
  const endpoint = parseEndpoint(method, url);
  if (!endpoint.ok) {
    // `parseEndpoint` redirects a path with too many slashes, as registries do. We refuse such a path, because it is no push location.
    const isMoved = endpoint.error.status === 301;
    return err({ error: isMoved ? notServed(url.pathname) : endpoint.error, cause: "not an endpoint" });
  }
  if (endpoint.value.kind !== "upload") return err({ error: notServed(url.pathname), cause: "not an upload" });
  const parameters = readGatewayQuery(endpoint.value);
  if (!parameters.ok) return parameters;
  const { grant: text, digest } = parameters.value;
  const grant = await openGrant(text, { keys: config.keys, now });
  if (!grant.ok) return unknownUpload(grant.error);
  const { repository: name, upload, query } = grant.value;
  if (grant.value.pod !== config.pod) return unknownUpload(`the grant is for Pod "${grant.value.pod}"`);
  if (endpoint.value.name !== name || endpoint.value.upload !== upload) {
    return unknownUpload("the grant is for another upload");
  }
  if (!config.edges.includes(grant.value.edge)) return err(wrongEdge(grant.value.edge));
  const target = formatEndpoint({ kind: "upload", method: endpoint.value.method, name, upload, query });
  const joint = query === "" ? "?" : "&";
  return ok({
    grant: grant.value,
    endpoint: endpoint.value,
    target: digest === null ? target : target + joint + withParameters("", { digest }),
  });
}

const notServed = (path: string): OciError => ({
  code: "UNSUPPORTED",
  status: 404,
  message: `path "${path.slice(0, 300)}" is not served here, because this host takes only uploads; use the hostname of the registry`,
});

type GatewayQuery = { readonly grant: string; readonly digest: string | null };

/** Reads the parameters that a client may send: the grant, the digest that completes the upload, and `ns`, which containerd adds for mirrors. */
function readGatewayQuery({ method, query }: UploadEndpoint): Result<GatewayQuery, NotAdmitted> {
  const parameters = readParameters(query).filter(({ text }) => text !== "");
  const [grant, ...others] = valuesOf(parameters, grantParameter);
  if (grant === undefined || others.length > 0) return unknownUpload("not exactly one grant");
  const known = [grantParameter, "ns", ...(method === "PUT" ? ["digest"] : [])];
  const odd = parameters.find(({ name }) => !known.includes(name));
  if (odd !== undefined) {
    const message = `query parameter "${odd.name.slice(0, 100)}" does not belong here; want the push location as it is`;
    return err({ error: { code: "QUERY_INVALID", message }, cause: "a parameter that is not the grant's" });
  }
  const [digest = null] = valuesOf(parameters, "digest");
  const parsed = digest === null ? ok(null) : parseDigest(digest);
  if (parsed.ok) return ok({ grant, digest });
  return err({ error: { code: "DIGEST_INVALID", message: parsed.error }, cause: "a malformed digest" });
}
