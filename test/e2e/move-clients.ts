/** Lets crane, skopeo and docker pull an image through several edges, again and again, while its group is moved. */
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { craneIn } from "./crane.ts";
import { dockerIn } from "./docker.ts";
import { skopeoIn } from "./skopeo.ts";
import { findsAll, needs } from "./tools.ts";

type Client = {
  readonly login: (host: string) => Promise<unknown>;
  /** Pulls the whole image, even if an earlier pull has stored it. */
  readonly pull: (image: string) => Promise<unknown>;
};

export type PullingClients = {
  /** Ends the pulls, and returns how many each client made. Rejects with a client's output if one of its pulls failed. */
  readonly stop: () => Promise<Readonly<Record<string, number>>>;
};

/** Starts crane, and skopeo and docker if they are installed. Each pull has a new login, as in a build job. */
export async function startClients(
  dir: string,
  { edges, image }: { readonly edges: readonly string[]; readonly image: string },
): Promise<PullingClients> {
  const docker = findsAll(needs.dockerd) ? await dockerIn(`${dir}/puller`) : null;
  const clients = new Map<string, Client>([["crane", craneClient(dir)]]);
  if (findsAll(["skopeo"])) clients.set("skopeo", skopeoClient(dir));
  if (docker !== null) {
    clients.set("docker", {
      login: (host) => docker("login", host, "-u", "demo", "-p", "demo"),
      pull: async (name) => {
        await docker("pull", name);
        await docker("image", "rm", name);
      },
    });
  }
  const ending = new AbortController();
  const pulling = [...clients].map(async ([name, { login, pull }]): Promise<[string, number]> => {
    let count = 0;
    for (; !ending.signal.aborted; count += 1) {
      const { host } = new URL(edges[count % edges.length] ?? "");
      await login(host);
      await pull(`${host}/${image}`);
      await sleep(500);
    }
    return [name, count];
  });
  const ended = Promise.allSettled(pulling);
  return {
    stop: async () => {
      ending.abort();
      await ended;
      await docker?.stop();
      return Object.fromEntries(await Promise.all(pulling));
    },
  };
}

function craneClient(dir: string): Client {
  const crane = craneIn(dir);
  return {
    login: (host) => crane("auth", "login", host, "-u", "demo", "-p", "demo"),
    pull: (image) => crane("pull", image, `${dir}/pulled`),
  };
}

function skopeoClient(dir: string): Client {
  const skopeo = skopeoIn(dir);
  const copy = `${dir}/pulled-by-skopeo`;
  return {
    login: (host) => skopeo("login", "--username", "demo", "--password", "demo", host),
    pull: async (image) => {
      await skopeo("copy", "--preserve-digests", `docker://${image}`, `dir:${copy}`);
      await rm(copy, { recursive: true });
    },
  };
}
