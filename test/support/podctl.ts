import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";

type PodctlRun = { readonly stdout: string; readonly stderr: string; readonly code: number | null };

/** podctl as a process of its own. */
export async function podctl(
  args: readonly string[],
  { input = "", env = {} }: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<PodctlRun> {
  const child = spawn(process.execPath, ["src/podctl/podctl.ts", ...args], {
    // A developer may have the variable that makes an account the target of every command.
    env: { ...process.env, CLOUDFLARE_ENV: "", ...env },
  });
  child.stdin.end(input);
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once("close", resolve)),
  ]);
  return { stdout, stderr, code };
}
