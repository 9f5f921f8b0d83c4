import { Command, InvalidArgumentError } from "commander";
import { parsePodId } from "../../directory/pod-id.ts";
import { type Prefix, parsePrefix } from "../../oci/repository-name.ts";
import { CliFailure, orFail } from "../failure.ts";
import { backMove, endMove, makeMove, showStatus } from "../move/move-groups.ts";
import type { MoveOptions } from "../move/open-group.ts";
import { planMove } from "../move/plan-groups.ts";
import { edgeOption, openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";

type Options = TargetOptions &
  MoveOptions & {
    readonly to?: string;
    readonly plan?: boolean;
    readonly back?: boolean;
    readonly status?: boolean;
    readonly done?: boolean;
    readonly cleanup?: boolean;
  };

const help = `
A move has three phases: copy, freeze and settle. Pushes are refused from the beginning of freeze to the beginning of settle. If the command is
interrupted, run it again: it goes on where it was. A group in settle stays there until you use --done, --cleanup or --back. If both Pods have the
same registry, nothing is copied, no push is refused, and the move ends by itself. docs/moves.md tells the whole story.

PODCTL_USER and PODCTL_PASSWORD are the login of a user who has all rights on the groups and may list the catalog, at both Pods. If the Pods
have different users, set PODCTL_USER_POD_B and PODCTL_PASSWORD_POD_B for the Pod "pod-b". On the local stack you do not need to set any of
these variables.

  podctl move acme --to pod-b --plan
  podctl move acme --to pod-b
  podctl move acme --cleanup`;

export function moveCommand(): Command {
  return withTarget(new Command("move"))
    .description("Moves groups to another Pod: copies their images and switches their assignments, while pulls go on.")
    .argument("<prefix...>", "the groups, each by its prefix")
    .option("--to <pod>", "the Pod that gets the groups")
    .option("--plan", "show what would be copied and check both Pods, without a move")
    .option("--status", "show which phase the groups are in, and what has been copied")
    .option("--back", "return the groups to the Pod from which they came")
    .option("--done", "end a move in the phase settle; until then, clients can still pull what only the old Pod has")
    .option(
      "--cleanup",
      "end a move in the phase settle, and delete the groups' manifests at the Pod from which they came",
    )
    .option("--jobs <n>", "how many requests and copies may be under way at once, for each Pod", parseCount, 8)
    .option(
      "--wait <seconds>",
      "how many seconds pass from writing freeze or settle to KV until that phase begins; by then, every location of the edge must have read it",
      parseSeconds,
      90,
    )
    .option(
      "--max-freeze <seconds>",
      "how long the copy and the comparison in freeze may take; after that, the old Pod takes pushes again, and the command fails",
      parseSeconds,
      900,
    )
    .option("--state <folder>", "where the state of moves is saved", "moves")
    .option(
      "--overwrite",
      "let the move remove tags that only the new Pod has, and overwrite tags that name another manifest there",
    )
    .option("--take-over", "go on with a move that another operator has begun")
    .addOption(edgeOption())
    .option("--yes", "do not ask for confirmation")
    .option("--json", "the result as JSON")
    .addHelpText("after", help)
    .action(async (texts: readonly string[], options: Options) => {
      const prefixes = texts.map((text): Prefix => orFail(parsePrefix(text)));
      refuseRepeated(prefixes);
      const target = await openTarget(options);
      if (options.status) return showStatus(target, prefixes, options);
      if (options.back) return backMove(target, prefixes, options);
      if (options.done || options.cleanup)
        return endMove(target, prefixes, { ...options, cleanup: options.cleanup === true });
      if (options.to === undefined)
        throw new CliFailure("want --to <pod>, or one of --status, --back, --done and --cleanup");
      const to = orFail(parsePodId(options.to));
      return options.plan
        ? planMove(target, prefixes, { ...options, to })
        : makeMove(target, prefixes, { ...options, to });
    });
}

/**
 * Refuses a prefix that is named twice, because two moves of one group would disturb each other. `a` and `a/b` are two groups, so both may be named.
 */
function refuseRepeated(prefixes: readonly Prefix[]): void {
  const twice = prefixes.find((one, index) => prefixes.indexOf(one) !== index);
  if (twice !== undefined) throw new CliFailure(`"${twice}" is named twice`);
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a number from 1 to 999.");
}

function parseSeconds(text: string): number {
  if (/^\d{1,5}(\.\d+)?$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a number of seconds, such as 90.");
}
