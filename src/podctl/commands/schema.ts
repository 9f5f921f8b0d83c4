import { toJsonSchema } from "@valibot/to-json-schema";
import { Command } from "commander";
import * as v from "valibot";
import { when } from "../../signers/store.ts";
import { cloudEntries } from "../../topology/cloud-ranges.ts";
import { topologySchema } from "../../topology/topology.ts";
import { printJson } from "../output.ts";

const options = { typeMode: "input", errorMode: "ignore" } as const;
const { $schema: _, ...whenInFile } = toJsonSchema(v.strictObject({ ...when.entries, ...cloudEntries }), options);

/** The form of a topology file, for editors. What only `podctl validate` can see (names, hosts, sealed values) is not in it. */
export const topologyJsonSchema = (): object => ({
  ...toJsonSchema(topologySchema, {
    ...options,
    // podctl writes clouds out as CIDRs before it checks a topology by its schema.
    overrideSchema: ({ valibotSchema }) => (valibotSchema === when ? whenInFile : null),
  }),
  title: "registry-edge topology",
});

export function schemaCommand(): Command {
  return new Command("schema")
    .description("Prints the JSON schema of topology files, for editors; docs/topology.schema.json is a copy of it.")
    .action(() => printJson(topologyJsonSchema()));
}
