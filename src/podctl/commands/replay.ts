import { Command } from "commander";
import { blocksKey } from "../../directory/keys.ts";
import { blocksToWrite, parseBlocks, unionOf } from "../../topology/blocks.ts";
import { recordText } from "../../topology/record-text.ts";
import { CliFailure, orFail } from "../failure.ts";
import { count, counted, print, printJson, startProgress } from "../output.ts";
import { type Comparison, compareTraffic, maxNames } from "../replay/comparison.ts";
import { collectTexts, createDecide, type Texts, textsOf } from "../replay/decide.ts";
import { readLog, unreadable } from "../replay/lines.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { readTopology } from "../target/read-topology.ts";
import type { Target } from "../target/target.ts";
import { orDamaged, readLive } from "../write/live-directory.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly from?: string };

const differsExitCode = 2;
const maxShown = 20;

export function replayCommand(): Command {
  return withTarget(new Command("replay"))
    .description(
      "Shows which requests of an access log would go to another Pod, or be refused, under another topology. Exits with 2 if there are such requests.",
    )
    .argument("<log>", "a file with the edge's own JSON lines, or in the common log format; - is standard input")
    .argument("[file]", "the topology file to try (default on the local stack: topology.example.yaml)")
    .option("--from <file>", "compare with this topology file instead of with KV")
    .option("--json", "the comparison as JSON")
    .addHelpText(
      "after",
      `
Compare topology.yaml with KV, or with another file:
  podctl replay access.log topology.yaml
  podctl replay access.log topology.yaml --from before.yaml

If the Worker's variable LOG_SAMPLE is 0.05, for example, the edge logs only 5 % of the ordinary requests. Each line contains this number,
and podctl estimates from it how many requests there were. The log may have any size.

In a comparison with KV, podctl adds the blocks in KV to the new topology, because \`podctl apply\` would keep them.`,
    )
    .action(async (log: string, file: string | undefined, { json, from, ...options }: Options) => {
      const target = await openTarget(options);
      const { topology } = await readTopology(file, target);
      const after = textsOf(topology);
      const before =
        from === undefined ? await readLiveTexts(target) : textsOf((await readTopology(from, target)).topology);
      if (from === undefined) keepBlocks(before, after);
      const comparison = await compareTraffic(readLog(log), createDecide(before, target), createDecide(after, target));
      if (json) printJson({ ...comparison, byMove: Object.fromEntries(comparison.byMove) });
      else print(formatComparison(comparison));
      const { lines, requests } = comparison;
      if (requests.differs > 0) process.exitCode = differsExitCode;
      if (lines.read === 0 && lines.unread > 0) throw new CliFailure(unreadable(log, "an access log"));
    });
}

async function readLiveTexts(target: Target): Promise<Texts> {
  const { texts, add } = collectTexts();
  const progress = startProgress("keys read", null);
  for await (const page of readLive(target.openKv())) {
    for (const { key, text } of page) add(key, text);
    progress.advance(page.length);
  }
  progress.end();
  return texts;
}

function keepBlocks(live: Texts, wanted: Texts): void {
  const blocksIn = (texts: Texts) => orDamaged(parseBlocks(texts.get(blocksKey) ?? null));
  const record = orFail(blocksToWrite(unionOf(blocksIn(live), blocksIn(wanted))));
  if (record !== null) wanted.set(blocksKey, recordText(blocksKey, record, { revision: 1, appliedAt: new Date(0) }));
}

export function formatComparison({ lines, requests, byMove, differences }: Comparison): string {
  const { same, differs, nameless, refused } = requests;
  const all = `${counted(lines.read, "line")} for ${counted(same + differs + nameless + refused, "request")}`;
  const kinds = `${count(same)} the same, ${count(differs)} different, ${count(nameless)} without a repository, ${count(refused)} refused either way`;
  const summary = `${all}: ${kinds}; ${counted(lines.unread, "line")} not read`;
  const moves = [...byMove]
    .toSorted(([, one], [, other]) => other - one)
    .map(([move, requests]) => `${move}: ${counted(requests, "request")}`);
  const names = differences
    .slice(0, maxShown)
    .flatMap(({ name, from, to, requests, examples }) => [
      `  ${name}: ${from} → ${to}, ${counted(requests, "request")}`,
      ...examples.map((example) => `    ${example}`),
    ]);
  return [summary, ...moves, ...names, ...namesLeft(differences.length)].join("\n");
}

function namesLeft(names: number): readonly string[] {
  if (names <= maxShown) return [];
  const left = counted(names - maxShown, "more name");
  return names < maxNames
    ? [`  and ${left}; --json has them`]
    : [`  and at least ${left}; --json has the first ${count(maxNames)} names of the log`];
}
