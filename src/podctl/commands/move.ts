import { Command, InvalidArgumentError, Option } from "commander";
import { parsePodId } from "../../directory/pod-id.ts";
import { type Prefix, parsePrefix } from "../../oci/repository-name.ts";
import { CliFailure, orFail } from "../failure.ts";
import { backMove, endMove, makeMove, showStatus } from "../move/move-groups.ts";
import type { MoveOptions } from "../move/open-group.ts";
import { planMove } from "../move/plan-groups.ts";
import { seenAfterSeconds } from "../target/kv-store.ts";
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
A move has three phases:
  copy     Clients pull from the old Pod and push to it. podctl copies the images to the new Pod.
  freeze   Clients pull from the old Pod, and pushes are refused. podctl copies the last changes and compares both Pods.
  settle   Clients pull from the new Pod and push to it. A manifest that only the old Pod has can still be pulled by its digest.

The command ends when settle has begun. The group stays in settle until you run the command with --done, --cleanup or --back. If the command is
interrupted, run it again, and it continues where it stopped. docs/moves.md describes moves in full.

Some fleets have Pods that share a registry and differ only in their token services. In the topology, such Pods have the same registry URL. In a
move between them, nothing is copied, no push is refused, and the move ends by itself.

PODCTL_USER and PODCTL_PASSWORD are the login of a user who has all rights on the groups and may list the catalog, at both Pods. If the Pods
have different users, set a login for each Pod: for pod-b, PODCTL_USER_POD_B and PODCTL_PASSWORD_POD_B. On the local stack you need none of
these variables.

  podctl move acme --to pod-b --plan
  podctl move acme --to pod-b
  podctl move acme --cleanup`;

export function moveCommand(): Command {
  return withTarget(new Command("move"))
    .description(
      "Moves groups to another Pod: copies their images and then changes their assignments. Clients can pull all the time.",
    )
    .argument("<prefix...>", "the prefix of each group, such as acme")
    .addOption(exclusive("--to <pod>", "the Pod to which the groups move"))
    .addOption(exclusive("--plan", "check both Pods and show what would be copied, but move nothing"))
    .addOption(exclusive("--status", "show the phase of each group's move, and how many repositories have been copied"))
    .addOption(exclusive("--back", "return the groups to the old Pod"))
    .addOption(
      exclusive(
        "--done",
        "end a move that is in the phase settle (see below); clients can then no longer pull a manifest that only the old Pod has",
      ),
    )
    .addOption(
      exclusive("--cleanup", "end a move that is in the phase settle, and delete the groups' manifests at the old Pod"),
    )
    .option("--jobs <n>", "how many requests and copies podctl makes at once, for each group and Pod", parseCount, 8)
    .option(
      "--wait <seconds>",
      `podctl announces the phases 'freeze' and 'settle' this many seconds before they begin, so that every location of the edge learns of them in time; with less than ${seenAfterSeconds}, a push could be lost, so use less only in tests`,
      parseSeconds,
      seenAfterSeconds,
    )
    .option(
      "--max-freeze <seconds>",
      "how long podctl may copy and compare in the phase freeze; after that, the command fails, and clients can push to the old Pod again",
      parseSeconds,
      900,
    )
    .option("--state <folder>", "the folder where podctl saves how far each move is", "moves")
    .option(
      "--overwrite",
      "move even if the new Pod has tags that would be lost: podctl removes from it each tag that the old Pod lacks, and overwrites each tag that has another manifest at the old Pod",
    )
    .option("--take-over", "continue a move that another operator has begun")
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

/** These options do not begin a move. commander refuses a command that has two of them, or one of them and `--to` or `--plan`. */
const others = ["status", "back", "done", "cleanup"];

function exclusive(flags: string, description: string): Option {
  const option = new Option(flags, description);
  return option.conflicts(others.filter((name) => name !== option.attributeName()));
}

/**
 * Refuses a prefix that is named twice, because two moves of one group would disturb each other. `a` and `a/b` are two groups, so both may be named.
 */
function refuseRepeated(prefixes: readonly Prefix[]): void {
  const twice = prefixes.find((one, index) => prefixes.indexOf(one) !== index);
  if (twice !== undefined) throw new CliFailure(`"${twice}" is named twice; name it once`);
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a number from 1 to 999.");
}

function parseSeconds(text: string): number {
  if (/^\d{1,5}(\.\d+)?$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a number of seconds, such as 90.");
}
