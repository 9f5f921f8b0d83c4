import { expect, test } from "vitest";
import { fits, readClient } from "../../src/directory/clients.ts";

test("the address of a client is read once, however many conditions ask for it", () => {
  let reads = 0;
  const headers = {
    get: () => {
      reads += 1;
      return "192.0.2.9";
    },
  } as unknown as Headers;
  const client = readClient({ headers, cf: undefined });
  const parsedCidrs = new WeakMap();
  const fit = Array.from({ length: 200 }, (_, index) => fits({ cidrs: [`192.0.2.${index}/32`] }, client, parsedCidrs));
  expect([fit.indexOf(true), reads]).toEqual([9, 1]);
});
