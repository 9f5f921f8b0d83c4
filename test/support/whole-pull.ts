import { createHash } from "node:crypto";
import { createClient } from "./client.ts";

export type PulledImage = { readonly repository: string; readonly tag?: string; readonly user: string | null };

type Pulled = { readonly text: string; readonly isStale: boolean };

type Descriptor = { readonly digest: string };

/**
 * Pulls an image as docker does when it has kept nothing, not even a token: the 401, a token, `HEAD` of the tag, the manifest by its digest, and each
 * blob from storage. Throws on any other status, and if bytes do not match their digest.
 */
export async function pullWhole(edge: string, { repository, tag = "1", user }: PulledImage): Promise<Pulled> {
  const client = createClient(edge);
  const get = async (path: string, token: string | null, init: { status: number; method?: string }) => {
    const answer = await client.get(`/v2/${repository}/${path}`, token, { method: init.method ?? "GET" });
    if (answer.status === init.status) return answer;
    await answer.body?.cancel();
    throw new Error(`${init.method ?? "GET"} ${path} was answered ${answer.status}`);
  };
  await (await get(`manifests/${tag}`, null, { status: 401 })).arrayBuffer();
  const token = await client.token([`repository:${repository}:pull`], user);
  const head = await get(`manifests/${tag}`, token, { status: 200, method: "HEAD" });
  const digest = head.headers.get("Docker-Content-Digest") ?? "";
  const manifest = await get(`manifests/${digest}`, token, { status: 200 });
  const text = await manifest.text();
  expectDigest(text, digest);
  const { config, layers } = JSON.parse(text) as { config: Descriptor; layers: readonly Descriptor[] };
  const redirects = await Promise.all(
    [config, ...layers].map(async (blob) => {
      const redirect = await get(`blobs/${blob.digest}`, token, { status: 307 });
      await redirect.arrayBuffer();
      const stored = await fetch(redirect.headers.get("Location") ?? "");
      const bytes = Buffer.from(await stored.arrayBuffer());
      if (stored.status !== 200) throw new Error(`storage answered ${stored.status}`);
      expectDigest(bytes, blob.digest);
      return redirect;
    }),
  );
  const isStale = [head, manifest, ...redirects].some(({ headers }) => headers.has("Warning"));
  return { text, isStale };
}

function expectDigest(content: string | Buffer, digest: string): void {
  const actual = `sha256:${createHash("sha256").update(content).digest("hex")}`;
  if (actual !== digest) throw new Error(`the bytes of ${digest} hash to ${actual}`);
}
