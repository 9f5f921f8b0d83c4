import { toJsonSchema } from "@valibot/to-json-schema";
import { Command } from "commander";
import { topologySchema } from "../../topology/topology.ts";
import { printJson } from "../output.ts";

/** The form of a topology file, for editors. What only `podctl validate` can see (names, hosts, sealed values) is not in it. */
export const topologyJsonSchema = (): object => ({
  ...toJsonSchema(topologySchema, { typeMode: "input", errorMode: "ignore" }),
  title: "registry-edge topology",
});

export function schemaCommand(): Command {
  return new Command("schema")
    .description("Prints the JSON schema of topology files, for editors; docs/topology.schema.json is a copy of it.")
    .action(() => printJson(topologyJsonSchema()));
}
