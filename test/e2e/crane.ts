import { run, succeed } from "./command.ts";
import { toolPath } from "./tools.ts";

export const craneIn =
  (home: string) =>
  (...args: readonly string[]): Promise<string> =>
    succeed(
      run(toolPath("crane"), ["--insecure", ...args], { HOME: home, DOCKER_CONFIG: `${home}/crane` }),
      `crane ${args.join(" ")}`,
    );
