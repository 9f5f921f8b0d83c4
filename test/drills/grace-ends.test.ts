import { describe, expect, test } from "vitest";
import { askToken, duringOutage, grant, type Login, pullOf, setUp, statusDuringOutage } from "../support/grace.ts";
import { pullerOf } from "../support/pull.ts";
import { readStackKv, useStack, withOutage } from "../support/toy-stack.ts";

describe("grace and a token service that lives", () => {
  const stack = useStack({ seedImages: false });

  const refuseWith = async (status: number, scopes: readonly string[], user: Login = "demo") => {
    const fault = { mode: "status", status } as const;
    const refused = await duringOutage(stack.current, () => askToken(stack.current, scopes, user), fault);
    // For a client without credentials, the edge turns every refusal into a 403.
    expect(refused.status).toBe(user === null ? 403 : status);
  };

  test("its 403 ends the grant of that repository at once, for these credentials only, until it grants it again", async () => {
    await setUp(stack.current, "acme/revoked", ["demo", "reader"]);
    await setUp(stack.current, "acme/kept", ["demo"]);
    await refuseWith(403, [pullOf("acme/revoked")]);
    expect(await statusDuringOutage(stack.current, "acme/revoked")).toBe(503);
    expect(await statusDuringOutage(stack.current, "acme/revoked", "reader")).toBe(200);
    expect(await statusDuringOutage(stack.current, "acme/kept")).toBe(200);
    await stack.current.restartEdge("kept");
    expect(await statusDuringOutage(stack.current, "acme/revoked")).toBe(503);
    await grant(stack.current, "acme/revoked", "demo");
    expect(await statusDuringOutage(stack.current, "acme/revoked")).toBe(200);
  });

  test("its 403 to a push ends the pull of that repository", async () => {
    await setUp(stack.current, "acme/no-push");
    await refuseWith(403, ["repository:acme/no-push:pull,push"]);
    expect(await statusDuringOutage(stack.current, "acme/no-push")).toBe(503);
  });

  test("its 401 ends all grants of these credentials, because it refuses the credentials themselves", async () => {
    await setUp(stack.current, "acme/left", ["demo", "reader"]);
    await setUp(stack.current, "acme/left-too", ["demo"]);
    await refuseWith(401, [pullOf("acme/left")]);
    expect(await statusDuringOutage(stack.current, "acme/left")).toBe(503);
    expect(await statusDuringOutage(stack.current, "acme/left-too")).toBe(503);
    expect(await statusDuringOutage(stack.current, "acme/left", "reader")).toBe(200);
  });

  test.each([401, 403])("its %d to a login ends all grants of these credentials", async (status) => {
    await setUp(stack.current, `acme/login-${status}`, ["demo", "reader"]);
    await refuseWith(status, []);
    expect(await statusDuringOutage(stack.current, `acme/login-${status}`)).toBe(503);
    expect(await statusDuringOutage(stack.current, `acme/login-${status}`, "reader")).toBe(200);
  });

  test("its refusal of a stranger ends the public image, and no other one", async () => {
    await setUp(stack.current, "acme/public/one", [null]);
    await setUp(stack.current, "acme/public/two", [null]);
    await refuseWith(401, [pullOf("acme/public/one")], null);
    expect(await statusDuringOutage(stack.current, "acme/public/one", null)).toBe(503);
    expect(await statusDuringOutage(stack.current, "acme/public/two", null)).toBe(200);
  });

  test.each([
    ["a push", ["repository:acme/public/wanted:pull,push"]],
    ["two pulls at once", [pullOf("acme/public/wanted"), pullOf("acme/hidden")]],
  ])(
    "its refusal of %s by a stranger ends no public image, because the pull of that image may not be the cause",
    async (_, scopes) => {
      await setUp(stack.current, "acme/public/wanted", [null]);
      await refuseWith(401, scopes, null);
      expect(await statusDuringOutage(stack.current, "acme/public/wanted", null)).toBe(200);
    },
  );
});

describe("end of the grace", () => {
  const stack = useStack({ seedImages: false, topology: withOutage("graceSeconds: 6") });
  const editRecord = async (from: string, to: string) => {
    const record = (await readStackKv(stack.current, ["pod/pod-a"])).get("pod/pod-a") ?? "";
    expect(record).toContain(from);
    await stack.current.putKv("pod/pod-a", record.replace(from, to));
    await stack.current.restartEdge("kept");
  };

  test("a grant ends graceSeconds after the token service's last one, and expires_in says when", {
    timeout: 30_000,
  }, async () => {
    await setUp(stack.current, "acme/brief");
    await duringOutage(stack.current, async () => {
      const { token, expiresIn } = await askToken(stack.current, [pullOf("acme/brief")]);
      const endsAtMs = Date.now() + (expiresIn + 1) * 1_000;
      expect(expiresIn).toBeLessThanOrEqual(6);
      const ask = pullerOf(stack.current, "acme/brief", token);
      expect((await ask("manifests/1")).status).toBe(200);
      await expect.poll(async () => (await ask("manifests/1")).status, { timeout: 10_000, interval: 200 }).toBe(401);
      expect(Date.now()).toBeLessThan(endsAtMs + 1_000);
      await expect
        .poll(async () => (await askToken(stack.current, [pullOf("acme/brief")])).status, { timeout: 3_000 })
        .toBe(503);
    });
  });

  test("a record that no longer has a grace, or is down, ends the grants that were given", {
    timeout: 60_000,
  }, async () => {
    const { digest } = await setUp(stack.current, "acme/ended");
    await editRecord('"graceSeconds":6', '"graceSeconds":600');
    await grant(stack.current, "acme/ended", "demo");
    const { token } = await duringOutage(stack.current, () => askToken(stack.current, [pullOf("acme/ended")]));
    const ask = pullerOf(stack.current, "acme/ended", token);
    expect((await ask(`manifests/${digest}`)).status).toBe(200);
    await editRecord('"state":"active"', '"state":"down"');
    stack.current.clearSeen();
    expect((await ask(`manifests/${digest}`)).status).toBe(503);
    expect((await askToken(stack.current, [pullOf("acme/ended")])).status).toBe(503);
    await editRecord('"state":"down"', '"state":"active"');
    expect((await ask(`manifests/${digest}`)).status).toBe(200);
    await editRecord('"graceSeconds":600', '"graceSeconds":0');
    expect((await ask(`manifests/${digest}`)).status).toBe(401);
    expect(await statusDuringOutage(stack.current, "acme/ended")).toBe(503);
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
  });
});
