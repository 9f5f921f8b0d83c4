import { type Ended, run, succeed } from "./command.ts";
import { toolPath } from "./tools.ts";

export type Skopeo = {
  /** Runs skopeo without TLS and signature policy, and returns what it printed. */
  (...args: readonly string[]): Promise<string>;
  attempt(...args: readonly string[]): Promise<Ended>;
};

/** The login and temporary files are below `home`. */
export function skopeoIn(home: string): Skopeo {
  const env = { HOME: home, TMPDIR: home, XDG_RUNTIME_DIR: home, REGISTRY_AUTH_FILE: `${home}/auth.json` };
  const attempt = (command = "", ...args: readonly string[]) =>
    run(toolPath("skopeo"), ["--insecure-policy", command, ...plainHttp(command), ...args], env);
  const skopeo = (...args: readonly string[]) => succeed(attempt(...args), `skopeo ${args.join(" ")}`);
  return Object.assign(skopeo, { attempt });
}

const plainHttp = (command: string): readonly string[] =>
  command === "copy" ? ["--src-tls-verify=false", "--dest-tls-verify=false"] : ["--tls-verify=false"];
