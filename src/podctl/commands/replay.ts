import { createReadStream } from "node:fs";
import { Command } from "commander";
import { blocksKey } from "../../directory/keys.ts";
import { blocksToWrite, parseBlocks, unionOf } from "../../topology/blocks.ts";
import { recordText } from "../../topology/record-text.ts";
import { CliFailure, orFail } from "../failure.ts";
import { counted, print, printJson, startProgress } from "../output.ts";
import { type Comparison, compareTraffic } from "../replay/comparison.ts";
import { addRecord, createDecide, type Texts, textsOf } from "../replay/decide.ts";
import { linesOf } from "../replay/lines.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { readTopology } from "../target/read-topology.ts";
import type { Target } from "../target/target.ts";
import { readLive } from "../write/live-directory.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly from?: string };

const differsExitCode = 2;
const maxShown = 20;

export function replayCommand(): Command {
  return withTarget(new Command("replay"))
    .description(
      "Shows which requests of an access log would go elsewhere under another topology. Exits with 2 if any would.",
    )
    .argument("<log>", "the access log: the edge's own JSON lines, or the common log format; - is standard input")
    .argument("[file]", "the topology to try; topology.example.yaml by default on the local stack")
    .option("--from <file>", "compare with this topology instead of with KV")
    .option("--json", "the comparison as JSON")
    .addHelpText(
      "after",
      `
  podctl replay access.log topology.yaml                      what applying the file would change for this traffic
  podctl replay access.log topology.yaml --from before.yaml   the same, but between two files and without KV

The log is read as a stream. Applying a file keeps blocks that are only in KV, so replay keeps them too.`,
    )
    .action(async (log: string, file: string | undefined, { json, from, ...options }: Options) => {
      const target = await openTarget(options);
      const { topology } = await readTopology(file, target);
      const after = textsOf(topology);
      const before =
        from === undefined ? await readLiveTexts(target) : textsOf((await readTopology(from, target)).topology);
      if (from === undefined) keepBlocks(before, after);
      const comparison = await compareTraffic(
        readLines(log),
        createDecide(before, target),
        createDecide(after, target),
      );
      if (json) printJson({ ...comparison, byMove: Object.fromEntries(comparison.byMove) });
      else print(formatComparison(comparison));
      if (comparison.lines.differs > 0) process.exitCode = differsExitCode;
      if (isUnread(comparison)) {
        throw new CliFailure(
          `no line of "${log}" is a line of an access log; if it is compressed, pass \`-\` and pipe the text of zcat into podctl`,
        );
      }
    });
}

/** Whether no line of the log could be read. The command must not report such a log as one without differences. */
const isUnread = ({ lines: { unread, ...read } }: Comparison): boolean =>
  unread > 0 && Object.values(read).every((lines) => lines === 0);

async function readLiveTexts(target: Target): Promise<Texts> {
  const [texts, shared]: [Texts, Map<string, string>] = [new Map(), new Map()];
  const progress = startProgress("keys read", null);
  for await (const page of readLive(target.openKv())) {
    for (const { key, text } of page) addRecord(texts, shared, key, text);
    progress.advance(page.length);
  }
  progress.end();
  return texts;
}

function keepBlocks(live: Texts, wanted: Texts): void {
  const [kept, asked] = [live, wanted].map((texts) => orFail(parseBlocks(texts.get(blocksKey) ?? null)));
  const record = orFail(blocksToWrite(unionOf(kept ?? new Map(), asked ?? new Map())));
  if (record !== null) wanted.set(blocksKey, recordText(blocksKey, record, { revision: 1, appliedAt: new Date(0) }));
}

async function* readLines(log: string): AsyncGenerator<string | null> {
  const progress = startProgress("lines read", null);
  const stream = log === "-" ? process.stdin.setEncoding("utf8") : createReadStream(log, { encoding: "utf8" });
  for await (const line of linesOf(stream as AsyncIterable<string>)) {
    progress.advance(1);
    yield line;
  }
  progress.end();
}

function formatComparison({ lines, byMove, differences }: Comparison): string {
  const { same, differs, nameless, refused, unread } = lines;
  const all = counted(same + differs + nameless + refused + unread, "line");
  const summary = `${all}: ${same} the same, ${differs} different, ${nameless} without a repository, ${refused} refused either way, ${unread} not read`;
  const moves = [...byMove]
    .toSorted(([, one], [, other]) => other - one)
    .map(([move, requests]) => `${move}: ${counted(requests, "request")}`);
  const names = differences
    .slice(0, maxShown)
    .flatMap(({ name, from, to, requests, examples }) => [
      `  ${name}: ${from} → ${to}, ${counted(requests, "request")}`,
      ...examples.map((example) => `    ${example}`),
    ]);
  const left =
    differences.length > maxShown
      ? [`  and ${counted(differences.length - maxShown, "more name")}; --json has them`]
      : [];
  return [summary, ...moves, ...names, ...left].join("\n");
}
