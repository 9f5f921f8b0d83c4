import { run, succeed } from "./command.ts";
import { toolPath } from "./tools.ts";

/** crane over plain HTTP, with its own login below `home`. */
export const craneIn =
  (home: string) =>
  (...args: readonly string[]): Promise<string> =>
    succeed(
      run(toolPath("crane"), ["--insecure", ...args], { HOME: home, DOCKER_CONFIG: `${home}/crane` }),
      `crane ${args.join(" ")}`,
    );
