/** Runs `ctr` on a dockerd's containerd, over plain HTTP. Pulled blobs are stored, but not unpacked. */
import { run, succeed } from "./command.ts";
import type { Docker } from "./docker.ts";
import { toolPath } from "./tools.ts";

export const debianCtr = "/usr/bin/ctr";

/** Debian's `ctr` and the newer one of `npm run tools` send different requests. Without `--local`, the newer one lets containerd send them. */
const versions = {
  "containerd 1.6": { program: () => debianCtr, sending: [] },
  "containerd 2": { program: () => toolPath("ctr"), sending: ["--local"] },
} as const;
export type CtrVersion = keyof typeof versions;
export const ctrVersions = Object.keys(versions) as readonly CtrVersion[];

export function ctrIn(docker: Docker, host: string, version: CtrVersion) {
  const { program, sending } = versions[version];
  const login = ["--plain-http", "--user", "demo:demo"];
  const attempt = (...args: readonly string[]) => run(program(), ["-a", docker.containerd, ...args]);
  const ctr = (...args: readonly string[]) => succeed(attempt(...args), `ctr ${args.join(" ")}`);
  const pushed = (from: string, to: string) => ["images", "push", ...sending, ...login, `${host}/${to}`, from];
  const fetchContent = (image: string) => ctr("content", "fetch", ...login, `${host}/${image}`);
  return {
    fetch: fetchContent,
    /** Removes all images first, because containerd does not fetch a blob that it already has. */
    pull: async (image: string) => {
      const names = (await ctr("images", "ls", "-q")).split("\n").filter((name) => name !== "");
      if (names.length > 0) await ctr("images", "rm", "--sync", ...names);
      await fetchContent(image);
    },
    /** `from` includes a host, because the image may have been pulled from another host than `host`. */
    push: (from: string, to: string) => ctr(...pushed(from, to)),
    attemptPush: (from: string, to: string) => attempt(...pushed(from, to)),
  };
}
