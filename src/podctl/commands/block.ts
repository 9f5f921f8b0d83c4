import { Command } from "commander";
import { blocksKey } from "../../directory/keys.ts";
import { type Blocks, blocksToWrite, parseBlocks } from "../../topology/blocks.ts";
import { parseBlocked } from "../../topology/check.ts";
import { maxTextCharacters } from "../../topology/settings.ts";
import { CliFailure, orFail } from "../failure.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { makeSmallChange, type SmallChangeOptions } from "../write/small-change.ts";

type Options = TargetOptions & SmallChangeOptions;

export function blockCommand(): Command {
  return withTarget(new Command("block"))
    .description(
      "Blocks a prefix or a digest: within a minute, every request for it gets 403 DENIED. Use this for a leaked or illegal image.",
    )
    .argument("<prefix|digest>", "a prefix or a digest, such as acme/leaked or sha256:…")
    .requiredOption("--why <text>", "the reason; clients see this text (required)")
    .option("--yes", "do not ask for confirmation")
    .option("--json", "the change as JSON")
    .addHelpText(
      "after",
      `
If you block the digest of a manifest, pulls by that digest end, but pulls by tag still work. To end pulls by tag, too, block the
digests of the image's layers or the name of the repository. Signed URLs that clients already have stay valid for at most 30 minutes.
\`podctl apply\` never lifts a block; only \`podctl unblock\` does.`,
    )
    .action(async (text: string, { why, ...options }: Options & { readonly why: string }) => {
      const blocked = orFail(parseBlocked(text));
      if (why.length > maxTextCharacters) {
        throw new CliFailure(`--why has ${why.length} characters; want at most ${maxTextCharacters}`);
      }
      const after = withBlocks((blocks) => new Map([...blocks, [blocked, why]]));
      const wanted = { key: blocksKey, after, already: `${blocked} is blocked with this text already` };
      await makeSmallChange(await openTarget(options), wanted, options);
    });
}

export function unblockCommand(): Command {
  return withTarget(new Command("unblock"))
    .description("Lifts a block.")
    .argument("<prefix|digest>", "the prefix or digest, exactly as it was blocked")
    .option("--yes", "do not ask for confirmation")
    .option("--json", "the change as JSON")
    .action(async (text: string, options: Options) => {
      const blocked = orFail(parseBlocked(text));
      const after = withBlocks((blocks) => new Map([...blocks].filter(([name]) => name !== blocked)));
      const wanted = { key: blocksKey, after, already: `there is no block of ${blocked}` };
      await makeSmallChange(await openTarget(options), wanted, options);
    });
}

/** Returns a function from the old record of blocks to the new one. It throws if the old one does not parse, because its blocks would be lost. */
const withBlocks = (change: (blocks: Blocks) => Blocks) => (text: string | null) =>
  orFail(blocksToWrite(change(orFail(parseBlocks(text)))));
