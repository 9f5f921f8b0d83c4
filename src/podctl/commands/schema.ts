import { Command } from "commander";
import { topologyJsonSchema } from "../../topology/json-schema.ts";
import { printJson } from "../output.ts";

export function schemaCommand(): Command {
  return new Command("schema")
    .description("Prints the JSON schema of topology files, for editors; docs/topology.schema.json is the same.")
    .action(() => printJson(topologyJsonSchema()));
}
