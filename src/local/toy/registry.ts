import type { IncomingMessage, RequestListener } from "node:http";
import { createAuthorizer, type ToyAuthOptions } from "./authorize.ts";
import { deleteBlob, redirectToStorage } from "./blobs.ts";
import { failure } from "./errors.ts";
import { listener, send, type ToyReply } from "./http.ts";
import { getCatalog, getReferrers, getTags } from "./lists.ts";
import { deleteManifest, getManifest, putManifest } from "./manifests.ts";
import { Repositories } from "./repositories.ts";
import { parseRoute, type RepositoryPlace, type Route } from "./routes.ts";
import type { ToyStorageClientOptions } from "./storage-client.ts";
import { UploadSessions } from "./upload-sessions.ts";
import { continueUpload, startUpload, type UploadServices } from "./uploads.ts";

type RegistryServices = UploadServices & { readonly lenientManifests: boolean };

type ToyRegistryOptions = ToyAuthOptions & {
  readonly storage: ToyStorageClientOptions;
  readonly stagingDir: string;
  /**
   * Whether the registry takes manifests whose blobs it does not have, as some registries do. The Pod's record must then not have `proof: manifest`.
   */
  readonly lenientManifests?: boolean;
};

/**
 * The toy registry follows the OCI distribution spec 1.1 and answers as distribution does. Blobs are in object storage, and clients are always
 * redirected there. Uploads that are not complete are files in `stagingDir`. Everything else is in memory.
 */
export function createToyRegistry(options: ToyRegistryOptions): RequestListener {
  const authorize = createAuthorizer(options);
  const services: RegistryServices = {
    repositories: new Repositories(),
    uploads: new UploadSessions(options.stagingDir),
    storage: options.storage,
    lenientManifests: options.lenientManifests ?? false,
  };
  return listener(async (request, response) => {
    response.setHeader("Docker-Distribution-Api-Version", "registry/2.0");
    const route = parseRoute(request);
    if (!route.ok) return send(response, route.error);
    const refusal = await authorize(request, route.value);
    send(response, refusal ?? (await answer(services, route.value, request)));
  });
}

async function answer(
  services: RegistryServices,
  { place, query }: Route,
  request: IncomingMessage,
): Promise<ToyReply> {
  const allowed = methods[place.kind];
  if (!allowed.includes(request.method ?? "")) return failure("UNSUPPORTED", undefined, { Allow: allowed.join(", ") });
  if (place.kind === "base") return { status: 200, headers: { "Content-Type": "application/json" }, body: "{}" };
  if (place.kind === "catalog") return getCatalog(services.repositories, query);
  return answerRepository(services, place, query, request);
}

const methods: Readonly<Record<Route["place"]["kind"], readonly string[]>> = {
  base: ["GET", "HEAD"],
  catalog: ["GET"],
  blob: ["GET", "HEAD", "DELETE"],
  manifest: ["GET", "HEAD", "PUT", "DELETE"],
  uploads: ["POST"],
  upload: ["GET", "HEAD", "PATCH", "PUT", "DELETE"],
  tags: ["GET"],
  referrers: ["GET"],
};

async function answerRepository(
  services: RegistryServices,
  place: RepositoryPlace,
  query: URLSearchParams,
  request: IncomingMessage,
): Promise<ToyReply> {
  const { repositories } = services;
  switch (place.kind) {
    case "tags":
      return getTags(repositories, place, query);
    case "referrers":
      return getReferrers(repositories, place, query);
    case "uploads":
      return startUpload(services, place.name, query, request);
    case "upload":
      return continueUpload(services, place, query, request);
    case "blob":
      if (request.method === "DELETE") return deleteBlob(services, place);
      return redirectToStorage(services, place, request.method === "HEAD" ? "HEAD" : "GET");
    case "manifest":
      if (request.method === "PUT") return putManifest(services, place, request);
      return request.method === "DELETE"
        ? deleteManifest(repositories, place)
        : getManifest(repositories, place, request);
  }
}
