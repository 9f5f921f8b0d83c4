/** `npm start`: starts the stack, prints how to use it, and ends all of the stack's processes on a signal or when npm has ended. */
import { parseArgs } from "node:util";
import { parseSize } from "./body-limit.ts";
import { type PodKind, podKinds } from "./pods/start-pods.ts";
import { isPortFree } from "./ports.ts";
import { type Stack, type StackOptions, startStack } from "./stack.ts";
import { removeStackFile, removeStaleStackFile, writeStackFile } from "./stack-files.ts";
import { portInUse, printable, StartFailure } from "./start-failure.ts";
import { endOnSignals } from "./teardown.ts";
import { welcome } from "./welcome.ts";

const parentCheckMs = 250;
/** The same interval as in wrangler.toml. */
const cronEveryMs = 60_000;

async function main(): Promise<void> {
  let stack: Stack | null = null;
  const end = endOnSignals(async () => {
    // If the stack is still starting, the watchdog kills what has been started.
    if (stack !== null) {
      await removeStackFile();
      await stack.stop();
    }
    process.exit(0);
  });
  endWithNpm(end);
  const options = readArguments();
  if (!(await isPortFree(options.edgePort))) throw portInUse(options.edgePort);
  await removeStaleStackFile();
  stack = await startStack(options);
  await writeStackFile(stack);
  runCronOf(stack);
  console.log(welcome(stack, options.pods));
}

/** workerd does not run cron triggers by itself, so we do. We ignore a failed run, because the Worker has logged the reason. */
function runCronOf(stack: Stack): void {
  setInterval(() => void stack.runCron().catch(() => {}), cronEveryMs).unref();
}

/**
 * If npm is killed, we may get no signal, so we watch whether npm is still our parent. The script in package.json begins with `exec`. Otherwise our
 * parent would be npm's shell, which does not end with npm. If npm did not start us, we watch nothing, because a shell may start us in the background
 * and then end.
 */
function endWithNpm(end: () => Promise<void>): void {
  if (process.env["npm_lifecycle_event"] === undefined) return;
  const parent = process.ppid;
  setInterval(() => process.ppid !== parent && void end(), parentCheckMs).unref();
}

type Arguments = { readonly pods: PodKind; readonly edgePort: number } & Pick<
  StackOptions,
  "gateways" | "bodyLimitBytes"
>;

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      pods: { type: "string", default: "toy" },
      gateways: { type: "boolean", default: false },
      "body-limit": { type: "string" },
    },
  });
  const pods = podKinds.find((kind) => kind === values.pods);
  if (pods === undefined)
    throw new StartFailure(`--pods "${values.pods}" is unknown: use one of ${podKinds.join(", ")}.`);
  const port = process.env["PORT"] || "8787";
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new StartFailure(`PORT="${port}" is not a port: use a number from 0 to 65535.`);
  }
  const limit = values["body-limit"];
  const bodyLimitBytes = limit === undefined ? null : parseSize(limit);
  if (limit !== undefined && bodyLimitBytes === null) {
    throw new StartFailure(`--body-limit "${limit}" is not a size: use one like 100MB.`);
  }
  return {
    ...{ pods, edgePort: Number(port) },
    // The operator of the edge also runs the gateways of this stack, so they are marked `fleet`, and every client may be sent to them.
    ...(values.gateways ? { gateways: "fleet" } : {}),
    ...(bodyLimitBytes === null ? {} : { bodyLimitBytes }),
  };
}

try {
  await main();
} catch (error) {
  console.error(printable(error));
  process.exit(1);
}
