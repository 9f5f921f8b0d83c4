import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import type { Stack } from "../../src/local/stack.ts";

export type ClientInit = Omit<RequestInit, "headers"> & {
  readonly headers?: Readonly<Record<string, string>>;
  readonly duplex?: "half";
};
/** `get` follows a redirect only if `init` asks for that. */
export type Client = {
  readonly origin: string;
  token(scopes: readonly string[], user?: string | null): Promise<string>;
  get(path: string, token?: string | null, init?: ClientInit): Promise<Response>;
};

/** The manifest types that docker, containerd, skopeo and crane send in `Accept`. */
export const manifestTypes = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
].join(", ");

type TokenService = { readonly realm: string; readonly service: string };

/** A client of the edge. For a client of another registry, name that registry's token service. */
export function createClient(
  origin: string,
  { realm, service }: TokenService = { realm: `${origin}/jwt/auth`, service: "registry-edge" },
): Client {
  return {
    origin,
    token: async (scopes, user = "demo") => {
      const query = new URLSearchParams([["service", service], ...scopes.map((scope) => ["scope", scope])]);
      const headers: HeadersInit = user === null ? {} : { Authorization: `Basic ${btoa(`${user}:${user}`)}` };
      const answer = await fetch(`${realm}?${query.toString()}`, { headers });
      if (answer.status !== 200) throw new Error(`token request was answered ${answer.status}`);
      const { token } = (await answer.json()) as { token: string };
      return token;
    },
    get: (path, token = null, init = {}) => {
      const headers = new Headers({ Accept: manifestTypes, ...init.headers });
      if (token !== null) headers.set("Authorization", `Bearer ${token}`);
      return fetch(origin + path, { redirect: "manual", ...init, headers });
    },
  };
}

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return `sha256:${Buffer.from(await crypto.subtle.digest("SHA-256", bytes)).toString("hex")}`;
}

export function createPodClient({ pods }: Stack, pod: LocalPodId): Client {
  const { registry, token } = pods[pod];
  return createClient(registry.direct, { realm: `${token.direct}/jwt/auth`, service: `${pod}-registry` });
}

export const clientOf = (to: Stack | Client): Client => ("edge" in to ? createClient(to.edge) : to);

/** Pushes a blob by POST and PUT, as containerd does, and returns its digest. */
export async function pushBlob(to: Stack | Client, repository: string, text: string): Promise<string> {
  const client = clientOf(to);
  const token = await client.token([`repository:${repository}:pull,push`]);
  const bytes = new Uint8Array(Buffer.from(text));
  const digest = await sha256(bytes);
  const started = await client.get(`/v2/${repository}/blobs/uploads/`, token, { method: "POST" });
  const place = new URL(`${started.headers.get("Location")}&digest=${digest}`, client.origin);
  // The location of an upload on a gateway contains the upload's grant, so a request to the gateway needs no token.
  const headers = new Headers(place.origin === client.origin ? { Authorization: `Bearer ${token}` } : {});
  const done = await fetch(place, { method: "PUT", body: bytes, headers });
  if (done.status !== 201) throw new Error(`upload was answered ${done.status}: ${await done.text()}`);
  return digest;
}

export async function layersOf(
  stack: Stack,
  repository: string,
  user: string | null = "demo",
): Promise<readonly { digest: string; size: number }[]> {
  const client = createClient(stack.edge);
  const token = await client.token([`repository:${repository}:pull`], user);
  const answer = await client.get(`/v2/${repository}/manifests/1`, token);
  const { layers } = (await answer.json()) as { layers: { digest: string; size: number }[] };
  return layers;
}
