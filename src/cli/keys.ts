import { randomBytes } from "node:crypto";
import { Command } from "commander";
import { generateSealingKeys } from "../directory/seal.ts";

const uploadKeyBytes = 32;

export function keysCommand(): Command {
  const generate = new Command("generate")
    .description("Prints new secrets for the Worker and the public key that seals for it, as JSON. Nothing is stored.")
    .addHelpText(
      "after",
      `
SEALING_KEYS and UPLOAD_KEYS are the Worker's, each set by \`npx wrangler secret put\`. While a key is replaced, both the new
and the old one stand in the list, the new one first. sealingPublicKey is no secret: keep it beside the topology.`,
    )
    .action(async () => {
      const { publicJwk, privateJwk } = await generateSealingKeys();
      const secrets = {
        SEALING_KEYS: JSON.stringify([privateJwk]),
        UPLOAD_KEYS: JSON.stringify([randomBytes(uploadKeyBytes).toString("base64url")]),
        sealingPublicKey: publicJwk,
      };
      console.log(JSON.stringify(secrets, null, 2));
    });
  return new Command("keys").description("The keys of a deployment.").addCommand(generate);
}
