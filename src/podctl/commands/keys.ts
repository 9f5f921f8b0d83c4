import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { Command, Option } from "commander";
import { CliFailure, cannotRead, orFail } from "../failure.ts";
import { importPublicKeys, type KidForm, kidForms } from "../keys/public-keys.ts";
import { generateSecrets, publicSealingKey, rotateSecrets } from "../keys/worker-secrets.ts";
import { note, print, printJson } from "../output.ts";

export function keysCommand(): Command {
  return new Command("keys")
    .description("Makes the Worker's secret keys, and prints public keys of the Worker and of Pods.")
    .addCommand(generateCommand())
    .addCommand(publicCommand())
    .addCommand(rotateCommand())
    .addCommand(importCommand());
}

function generateCommand(): Command {
  return new Command("generate")
    .description("Makes new secrets for the Worker and prints them as JSON. podctl does not store them.")
    .addHelpText(
      "after",
      `
  (umask 077; podctl keys generate > secrets.json)
  npx wrangler secret bulk secrets.json --env production

Keep secrets.json in your secret store and nowhere else. Operators who run \`podctl doctor\` need its PROBE_TOKEN.`,
    )
    .action(async () => printJson(await generateSecrets()));
}

function publicCommand(): Command {
  return new Command("public")
    .description(
      "Reads the Worker's secrets from standard input, and prints as a JWK the public key that `podctl seal` needs.",
    )
    .addHelpText(
      "after",
      `
  podctl keys public < secrets.json > sealing.jwk

This key is not a secret. Keep it in the folder of your topology file, where \`podctl seal\` looks for it.`,
    )
    .action(async () => printJson(orFail(await publicSealingKey(await text(process.stdin)))));
}

function rotateCommand(): Command {
  return new Command("rotate")
    .description(
      "Reads the Worker's secrets from standard input, and prints them with one new key in each of the lists SEALING_KEYS and EDGE_KEYS. The new key becomes the first key of its list, and the former first key becomes the second. A former second key is dropped.",
    )
    .addHelpText(
      "after",
      `
  (umask 077; podctl keys rotate < secrets.json > next.json)
  podctl keys public < next.json > sealing.jwk
  npx wrangler secret bulk next.json --env production

The Worker then accepts both keys of each list. The keys in SEALING_KEYS open the sealed secrets of the topology, so seal each secret again
with the new sealing.jwk, and apply the topology. From EDGE_KEYS, the edge derives other keys, such as the one that binds an upload to its
Pod. So uploads that began before the rotation need the old key for up to one week. Wait until that week is over and until the check "sealed
values" of \`podctl doctor\` is ok. Then remove the second key, which is the old one, from each list, and upload the secrets again.`,
    )
    .action(async () => {
      const { secrets, dropped } = orFail(await rotateSecrets(await text(process.stdin)));
      for (const name of dropped) {
        note(
          `${name} held two keys. The older one is dropped, so what is still sealed for it can no longer be opened.`,
        );
      }
      printJson(secrets);
    });
}

function importCommand(): Command {
  return new Command("import")
    .description("Prints the public keys of a Pod's token service as lines for the Pod's `keys:` in the topology file.")
    .argument("<file>", "certificates or public keys in PEM, or a JWK set in JSON")
    .addOption(
      new Option(
        "--kid <form>",
        "the form of the key id (`kid`) in the Pod's tokens: libtrust (GitLab, distribution 2), rfc7638 (distribution 3), or own (the `kid` in the JWK set)",
      )
        .choices(kidForms)
        .default("libtrust"),
    )
    .addHelpText(
      "after",
      `
  podctl keys import /etc/registry/token.crt

Put each line under the Pod's \`keys:\` in the topology file. \`podctl doctor\` then checks that the Pod's tokens have that \`kid\`.`,
    )
    .action(async (file: string, { kid }: { readonly kid: KidForm }) => {
      const keys = await importPublicKeys(await readFile(file, "utf8").catch(cannotRead(file, "PEM or JSON")), kid);
      if (!keys.ok) throw new CliFailure(`"${file}" ${keys.error}`);
      for (const key of keys.value) print(`- ${JSON.stringify(key)}`);
    });
}
