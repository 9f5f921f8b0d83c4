import { toJsonSchema } from "@valibot/to-json-schema";
import { Command } from "commander";
import * as v from "valibot";
import { when } from "../../signers/store.ts";
import { cloudEntries } from "../../topology/cloud-ranges.ts";
import { topologySchema } from "../../topology/topology.ts";
import { printJson } from "../output.ts";

const options = { typeMode: "input", errorMode: "ignore" } as const;
const { $schema: _, ...whenInFile } = toJsonSchema(v.strictObject({ ...when.entries, ...cloudEntries }), options);

/** The schema is for editors. It cannot check names, hosts and sealed values; `podctl validate` checks them. */
export const topologyJsonSchema = (): object => ({
  ...toJsonSchema(topologySchema, {
    ...options,
    // A file's `when` may name clouds, which podctl replaces by CIDRs before it applies `topologySchema`. An editor checks the file as it is written,
    // so the editor's schema needs a `when` with clouds.
    overrideSchema: ({ valibotSchema }) => (valibotSchema === when ? whenInFile : null),
  }),
  title: "registry-edge topology",
});

export function schemaCommand(): Command {
  return new Command("schema")
    .description(
      "Prints the JSON schema of topology files, for use in an editor. docs/topology.schema.json is a copy of it.",
    )
    .action(() => printJson(topologyJsonSchema()));
}
