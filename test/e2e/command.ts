/** Runs a client's command with a time limit, and without the environment variables that would change what the command does. */
import { spawn } from "node:child_process";
import { childEnv } from "../../src/local/child-process.ts";

/** Commands that push gigabytes need more than the default of 180 s. */
const commandMs = Number(process.env["COMMAND_SECONDS"] ?? 180) * 1_000;
const shownOutputChars = 2_000;

export type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

export function run(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...childEnv(), ...env },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: commandMs,
      killSignal: "SIGKILL",
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

export async function succeed(ended: Promise<Ended>, what: string): Promise<string> {
  const { code, stdout, stderr } = await ended;
  if (code === 0) return stdout;
  throw new Error(`${what} ended with ${code}: ${(stderr.trim() || stdout.trim()).slice(-shownOutputChars)}`);
}
