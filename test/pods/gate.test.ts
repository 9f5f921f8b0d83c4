import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { readClient } from "../../src/directory/clients.ts";
import type { Pod } from "../../src/directory/directory.ts";
import { assignmentRecord } from "../../src/directory/records.ts";
import { requestFrom } from "../../src/podctl/explain/recording.ts";
import { passGate } from "../../src/pods/gate.ts";

const unknown = { country: null, continent: null, asn: null, colo: null, ip: null };
type Place = Partial<Record<keyof typeof unknown, string | number>>;

const pod = { id: "pod-a", state: "active" } as unknown as Pod;
const visitFrom = (place: Place) => {
  const request = requestFrom({ ...unknown, ...place } as Parameters<typeof requestFrom>[0], {
    method: "GET",
    url: new URL("https://edge.test/v2/acme/app/manifests/1"),
    authorization: null,
  });
  return { client: readClient(request), parsedCidrs: new WeakMap() };
};
const ask = (method: string, settings: object, place: Place = {}) => {
  const assignment = v.parse(assignmentRecord, { v: 1, pod: "pod-a", revision: 1, state: "active", ...settings });
  return passGate(
    method,
    { pod, renamed: null, assignment, moving: null, blocked: null, stale: null },
    visitFrom(place),
  );
};

const office = [{ cidrs: ["192.0.2.0/24", "2001:db8:1::/48"] }];
const germany = [{ countries: ["DE"] }];
const oneNetwork = [{ asns: [64500] }];

describe("gate of a group with rules about its clients", () => {
  test.each<[string, object, Place, boolean]>([
    ["an allowed country", { allow: germany }, { country: "DE" }, true],
    ["another country", { allow: germany }, { country: "FR" }, false],
    ["a country that is not known", { allow: germany }, {}, false],
    ["an allowed network", { allow: oneNetwork }, { asn: 64500 }, true],
    ["another network", { allow: oneNetwork }, { asn: 64501 }, false],
    ["an allowed address", { allow: office }, { ip: "192.0.2.9" }, true],
    ["an allowed address of IPv6", { allow: office }, { ip: "2001:db8:1::9" }, true],
    ["an allowed IPv4 address in its IPv6 form", { allow: office }, { ip: "::ffff:192.0.2.9" }, true],
    ["an address next to the block", { allow: office }, { ip: "192.0.3.0" }, false],
    ["an address that is no address", { allow: office }, { ip: "192.0.2.9, 192.0.3.0" }, false],
    ["one of two allowed places", { allow: [...office, ...germany] }, { ip: "192.0.3.0", country: "DE" }, true],
    [
      "a part of one condition",
      { allow: [{ ...office[0], ...germany[0] }] },
      { ip: "192.0.2.9", country: "FR" },
      false,
    ],
    ["a denied country", { deny: germany }, { country: "DE" }, false],
    ["a country that is not denied", { deny: germany }, { country: "FR" }, true],
    ["an unknown place, if some are denied", { deny: [...germany, ...office, ...oneNetwork] }, {}, true],
    [
      "a denied network in an allowed country",
      { allow: germany, deny: oneNetwork },
      { country: "DE", asn: 64500 },
      false,
    ],
    ["an allowed country outside the denied network", { allow: germany, deny: oneNetwork }, { country: "DE" }, true],
    ["Tor", { deny: [{ countries: ["T1"] }] }, { country: "T1" }, false],
    ["anyone, if the list of the allowed is empty", { allow: [] }, { country: "DE", ip: "192.0.2.9" }, false],
  ])("%s", (_name, clients, place, isAdmitted) => {
    for (const method of ["GET", "PUT"]) {
      expect(ask(method, { clients: { ...clients, reason: "Only for us." } }, place)).toEqual(
        isAdmitted
          ? { ok: true, value: pod }
          : { ok: false, error: { reason: "client-denied", text: "Only for us.", pod: "pod-a" } },
      );
    }
  });

  test("without the operator's text, the client gets one that names no Pod", () => {
    const { error } = ask("GET", { clients: { allow: [] } }) as { error: { text: string } };
    expect(error.text).toBe("this repository may not be used from your network");
  });
});

describe("gate of a read-only group", () => {
  test.each(["POST", "PUT", "PATCH", "DELETE"])("%s is refused with the operator's text", (method) => {
    expect(ask(method, { state: "read-only", reason: "Until Monday." })).toEqual({
      ok: false,
      error: { reason: "read-only", text: "Until Monday.", pod: "pod-a" },
    });
  });

  test.each(["GET", "HEAD"])("%s passes", (method) => {
    expect(ask(method, { state: "read-only" }).ok).toBe(true);
  });

  test("a client that may not use the group is told that, and not that the group is read-only", () => {
    const settings = { state: "read-only", clients: { deny: germany } };
    expect(ask("PUT", settings, { country: "DE" })).toMatchObject({ error: { reason: "client-denied" } });
  });
});

test("a block comes before a group's settings, and they come before the Pod's state", () => {
  const assignment = v.parse(assignmentRecord, {
    ...{ v: 1, pod: "pod-a", revision: 1, state: "active" },
    clients: { allow: [] },
  });
  const down = { ...pod, state: "down" } as Pod;
  const gate = (blocked: string | null) =>
    passGate("GET", { pod: down, renamed: null, assignment, moving: null, blocked, stale: null }, visitFrom({}));
  expect(gate("leaked")).toMatchObject({ error: { reason: "blocked" } });
  expect(gate(null)).toMatchObject({ error: { reason: "client-denied" } });
});
