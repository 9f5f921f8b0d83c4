import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { finished } from "node:stream/promises";
import { childEnv } from "../../src/local/child-process.ts";
import { parseReport, type Report } from "./report.ts";

const suiteMs = 300_000;

type SuiteRun = {
  readonly binary: string;
  /** `http://host:port`. */
  readonly registry: string;
  /** The suite pushes to two names below this prefix. */
  readonly prefix: string;
  /** The folder is emptied first. */
  readonly outputDir: string;
};

export async function runSuite({ binary, registry, prefix, outputDir }: SuiteRun): Promise<Report> {
  await rm(outputDir, { recursive: true, force: true });
  await mkdir(outputDir, { recursive: true });
  const env = {
    ...childEnv(),
    OCI_REGISTRY: new URL(registry).host,
    OCI_TLS: "disabled",
    OCI_USERNAME: "demo",
    OCI_PASSWORD: "demo",
    OCI_REPO1: `${prefix}/one`,
    OCI_REPO2: `${prefix}/two`,
    OCI_RESULTS_DIR: outputDir,
  };
  const reportFile = `${outputDir}/report.txt`;
  // The suite would read a configuration file in its working folder, so it gets an empty folder.
  const child = spawn(binary, [], { cwd: outputDir, env, stdio: ["ignore", "pipe", "pipe"], timeout: suiteMs });
  const outputs = [
    child.stdout.pipe(createWriteStream(reportFile)),
    child.stderr.pipe(createWriteStream(`${outputDir}/log.txt`)),
  ];
  await Promise.all(outputs.map((output) => finished(output)));
  // The exit code is not read, because it says only whether all rows passed, and no registry here passes all.
  const report = parseReport(await readFile(reportFile, "utf8"));
  if (report === null) throw new Error(`the suite made no report; see ${outputDir}`);
  return report;
}
