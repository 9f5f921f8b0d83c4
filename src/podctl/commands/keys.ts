import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { Command, Option } from "commander";
import { generateSealingKeys } from "../../directory/seal.ts";
import { importPublicKeys, type KidForm, kidForms } from "../keys/public-keys.ts";
import { newEdgeKey, newProbeToken, rotateKeys } from "../keys/rotate-keys.ts";
import { note, print, printJson } from "../output.ts";

export function keysCommand(): Command {
  return new Command("keys")
    .description("The keys of a deployment and of its Pods.")
    .addCommand(generateCommand())
    .addCommand(rotateCommand())
    .addCommand(importCommand());
}

function generateCommand(): Command {
  return new Command("generate")
    .description("Prints new secrets for the Worker and the public key that seals for it, as JSON. Nothing is stored.")
    .addHelpText(
      "after",
      `
SEALING_KEYS, EDGE_KEYS and PROBE_TOKEN are the Worker's, each set by \`npx wrangler secret put\`. sealingPublicKey is no
secret: keep it beside the topology. Operators who run \`podctl doctor\` need PROBE_TOKEN as well.`,
    )
    .action(async () => {
      const { publicJwk, privateJwk } = await generateSealingKeys();
      const secrets = {
        SEALING_KEYS: JSON.stringify([privateJwk]),
        EDGE_KEYS: JSON.stringify([newEdgeKey()]),
        PROBE_TOKEN: newProbeToken(),
        sealingPublicKey: publicJwk,
      };
      printJson(secrets);
    });
}

function rotateCommand(): Command {
  return new Command("rotate")
    .description(
      "Reads secrets as `keys generate` printed them from standard input, prints the next ones: a new key before each old one.",
    )
    .addHelpText(
      "after",
      `
  podctl keys rotate < secrets.json > next.json

Set the new lists by \`npx wrangler secret put\` first: the Worker then takes both keys. Then seal every credential anew with the
new sealingPublicKey and apply it. An upload of before the change lives on for a week by the second key; rotate again after that.`,
    )
    .action(async () => {
      const rotated = await rotateKeys(await text(process.stdin));
      if (!rotated.ok) throw new Error(rotated.error);
      for (const name of rotated.value.dropped) {
        note(`${name} held two keys: the older one is dropped, and what is still sealed for it opens no more`);
      }
      printJson(rotated.value.secrets);
    });
}

function importCommand(): Command {
  return new Command("import")
    .description(
      "Prints the public keys of a token service, from a PEM bundle or a JWK set, as a Pod's `keys` want them.",
    )
    .argument("<file>", "certificates or public keys in PEM, or a JWK set in JSON")
    .addOption(
      new Option(
        "--kid <form>",
        "how its tokens name the key: libtrust (GitLab, distribution 2), rfc7638, or the JWK's own",
      )
        .choices(kidForms)
        .default("libtrust"),
    )
    .addHelpText(
      "after",
      `
  podctl keys import /etc/registry/token.crt

Each line goes under \`keys:\` of the Pod in the topology. \`podctl doctor\` says whether the tokens bear that kid.`,
    )
    .action(async (file: string, { kid }: { readonly kid: KidForm }) => {
      const keys = await importPublicKeys(await readFile(file, "utf8"), kid);
      if (!keys.ok) throw new Error(`"${file}" ${keys.error}`);
      for (const key of keys.value) print(`- ${JSON.stringify(key)}`);
    });
}
