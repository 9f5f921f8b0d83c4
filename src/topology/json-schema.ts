import { toJsonSchema } from "@valibot/to-json-schema";
import { topologySchema } from "./topology.ts";

/** The form of a topology file, for editors. What only `podctl validate` can see (names, hosts, seals) is not in it. */
export const topologyJsonSchema = (): object => ({
  ...toJsonSchema(topologySchema, { typeMode: "input", errorMode: "ignore" }),
  title: "registry-edge topology",
});
