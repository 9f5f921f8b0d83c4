import { expect, test } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import { base64url, utf8 } from "../../src/lib/bytes.ts";
import { parseTokenAnswer, tokenResponse } from "../../src/token-endpoint/answer.ts";

const now = new Date("2026-01-01T00:00:00Z");
const seconds = now.getTime() / 1000;

test.each([
  ["an end", `{"exp":${seconds + 300}}`, 300],
  ["an end with a fraction", `{"exp":${seconds + 300.9}}`, 300],
  ["an end in the past", `{"exp":${seconds - 1}}`, 0],
  ["no end", "{}", 0],
  ["an end in words", '{"exp":"tomorrow"}', 0],
  ["an end in text", `{"exp":"${seconds + 300}"}`, 0],
  ["an end that no number holds", '{"exp":1e999}', 0],
  ["an end that no client reads", '{"exp":1e300}', 0],
  ["claims that are not an object", "7", 0],
])("expires_in is a number of seconds, whatever a Pod's token says: %s", async (_, claims, remaining) => {
  const jwt = `e30.${base64url(utf8(claims))}.c2ln`;
  const answer = tokenResponse([{ kind: "pod", pod: "pod-a" as PodId, jwt }], now, null);
  expect(await answer.json()).toMatchObject({ expires_in: remaining });
});

test.each(["token", "access_token"])(
  "a Pod's answer may have its token only as %s, and null or an empty text under the other name",
  (name) => {
    const jwt = `e30.${base64url(utf8(`{"exp":${seconds + 300}}`))}.c2ln`;
    for (const missing of [undefined, null, ""]) {
      const text = JSON.stringify({ token: missing, access_token: missing, [name]: jwt });
      expect(parseTokenAnswer(text, now)).toEqual({ ok: true, value: jwt });
    }
  },
);
