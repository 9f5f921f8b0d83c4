import { readFile } from "node:fs/promises";
import { exampleFile, root, stackFileInUse } from "../../local/paths.ts";
import { kvApiNames, kvApiPath, type RunningStack, readStackFile, stackService } from "../../local/stack-files.ts";
import type { Placeholders } from "../../topology/placeholders.ts";
import { CliFailure } from "../failure.ts";
import { openKvStore } from "./kv-store.ts";
import { operatorFromEnv } from "./operator.ts";
import type { Target } from "./target.ts";

export async function openStack(): Promise<Target> {
  const stack = await readStackFile(stackFileInUse());
  const placeholders = stack === null ? {} : await readPlaceholders(stack);
  return {
    name: "the local stack",
    openKv: () => {
      if (stack === null) throw new CliFailure(noStack);
      return openKvStore({ baseUrl: stack.control + kvApiPath, token: "local", ...kvApiNames });
    },
    auth: "token",
    service: stackService,
    openEdge: async (at) => {
      if (stack === null) throw new CliFailure(noStack);
      const probeToken = await readFile(`${stack.stateDir}/probe-token`, "utf8");
      return {
        origin: at?.origin ?? stack.edge,
        probeToken,
        user: operatorFromEnv() ?? { name: "demo", password: "demo" },
      };
    },
    defaultFile: `${root}${exampleFile}`,
    placeholders,
    plainHttp: "loopback",
    seals: "checked",
    realm: null,
    edgeHosts: stack === null ? [] : [new URL(stack.edge).hostname, new URL(stack.edge).host],
  };
}

const noStack = "no local stack is running; start one with `npm start`, or choose an environment with --env";

async function readPlaceholders({ stateDir }: RunningStack): Promise<Placeholders> {
  return JSON.parse(await readFile(`${stateDir}/topology-values.json`, "utf8")) as Placeholders;
}
