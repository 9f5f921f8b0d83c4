import { Command } from "commander";
import { blocksKey } from "../../directory/keys.ts";
import { type Blocks, blocksToWrite, parseBlocks } from "../../topology/blocks.ts";
import { parseBlocked, refuseHost } from "../../topology/check.ts";
import { maxTextCharacters } from "../../topology/settings.ts";
import { CliFailure, orFail } from "../failure.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { orDamaged } from "../write/live-directory.ts";
import { makeSmallChange, type SmallChangeOptions } from "../write/small-change.ts";

type Options = TargetOptions & SmallChangeOptions;

export function blockCommand(): Command {
  return withTarget(new Command("block"))
    .description(
      "Blocks a prefix or a digest: within a minute, each request that names it gets 403 DENIED. Use this for a leaked or illegal image.",
    )
    .argument("<prefix|digest>", "what to block, such as acme/leaked or sha256:…")
    .requiredOption("--why <text>", "the reason, which clients see (required)")
    .option("--yes", "do not ask for confirmation")
    .option("--json", "the change as JSON")
    .addHelpText(
      "after",
      `
If you block the digest of a manifest, clients can still pull the manifest by its tag, because such a request does not name the digest. To
end such pulls, too, block the name of the repository, or the digests of the image's layers. A signed URL that a client already has stays
valid for up to 30 minutes.
\`podctl apply\` never lifts a block: use \`podctl unblock\`.`,
    )
    .action(async (text: string, { why, ...options }: Options & { readonly why: string }) => {
      const target = await openTarget(options);
      const blocked = orFail(refuseHost(parseBlocked(text), target.edgeHosts));
      if (why.length > maxTextCharacters) {
        throw new CliFailure(`--why has ${why.length} characters; want at most ${maxTextCharacters}`);
      }
      const after = withBlocks((blocks) => new Map([...blocks, [blocked, why]]));
      const wanted = { key: blocksKey, after, already: `${blocked} is blocked with this text already` };
      await makeSmallChange(target, wanted, options);
    });
}

export function unblockCommand(): Command {
  return withTarget(new Command("unblock"))
    .description("Lifts a block, so that clients can use the prefix or the digest again.")
    .argument("<prefix|digest>", "the prefix or digest, exactly as it was blocked")
    .option("--yes", "do not ask for confirmation")
    .option("--json", "the change as JSON")
    .addHelpText(
      "after",
      `
If the topology file has this block, remove it there, too. Otherwise the next \`podctl apply\` adds it again.`,
    )
    .action(async (blocked: string, options: Options) => {
      const after = withBlocks((blocks) => new Map([...blocks].filter(([name]) => name !== blocked)));
      const wanted = { key: blocksKey, after, already: `there is no block of ${blocked}` };
      await makeSmallChange(await openTarget(options), wanted, options);
    });
}

/** Changes the text of the record of blocks. Throws if the old text does not parse, because its blocks would be lost. */
const withBlocks = (change: (blocks: Blocks) => Blocks) => (text: string | null) =>
  orFail(blocksToWrite(change(orDamaged(parseBlocks(text)))));
