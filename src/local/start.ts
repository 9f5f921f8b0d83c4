/** `npm start`: brings the stack up, says how to use it, and takes every process down with it again. */
import { parseArgs } from "node:util";
import { isPortFree } from "./http-server.ts";
import { type PodKind, type Stack, startStack } from "./stack.ts";
import { removeStackFile, removeStaleStackFile, writeStackFile } from "./stack-file.ts";
import { StartFailure } from "./start-failure.ts";
import { welcome } from "./welcome.ts";
import { portInUse } from "./workerd/edge.ts";

const kinds: readonly PodKind[] = ["toy", "registry", "distribution-v3"];
const parentCheckMs = 250;

let stack: Stack | null = null;
let ending = false;

/** Before the stack is up there is nothing to end in order: the watchdog takes what has been started. */
async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  if (stack !== null) {
    await removeStackFile();
    await stack.stop();
  }
  process.exit(0);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void end());

// npm may be killed without a word to us. Started otherwise, a parent that ends may just have put us in the background.
if (process.env["npm_lifecycle_event"] !== undefined) {
  const parent = process.ppid;
  setInterval(() => process.ppid !== parent && void end(), parentCheckMs).unref();
}

function readArguments(): { pods: PodKind; edgePort: number } {
  const { values } = parseArgs({ options: { pods: { type: "string", default: "toy" } } });
  const pods = kinds.find((kind) => kind === values.pods);
  if (pods === undefined) throw new StartFailure(`--pods ${values.pods}: want one of ${kinds.join(", ")}.`);
  const port = process.env["PORT"] || "8787";
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) throw new StartFailure(`PORT=${port}: want a port number.`);
  return { pods, edgePort: Number(port) };
}

const isUserMistake = (error: unknown): error is Error =>
  error instanceof StartFailure || (error instanceof TypeError && "code" in error);

try {
  const options = readArguments();
  if (!(await isPortFree(options.edgePort))) throw portInUse(options.edgePort);
  await removeStaleStackFile();
  stack = await startStack(options);
  await writeStackFile(stack);
  console.log(welcome(stack, options.pods));
} catch (error) {
  console.error(isUserMistake(error) ? error.message : error);
  process.exit(1);
}
