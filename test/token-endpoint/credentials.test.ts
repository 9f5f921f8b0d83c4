import { expect, test } from "vitest";
import { credentialsOf } from "../../src/token-endpoint/credentials.ts";
import type { PodQuestion } from "../../src/token-endpoint/plan.ts";
import { parseTokenRequest } from "../../src/token-endpoint/request.ts";

type Sent = { readonly basic?: string; readonly form?: string };

async function credentials({ basic, form }: Sent, withCredentials = true) {
  const request = new Request(`https://edge.test/jwt/auth?service=s`, {
    headers: basic === undefined ? {} : { Authorization: basic },
    ...(form === undefined ? {} : { method: "POST", body: new URLSearchParams(form) }),
  });
  const parsed = await parseTokenRequest(request, "s");
  if (!parsed.ok) throw new Error(parsed.error.message);
  return credentialsOf({ withCredentials } as PodQuestion, parsed.value);
}
const basicOf = (pair: string) => `Basic ${Buffer.from(pair).toString("base64")}`;
const pairOf = (pair: string) => ["password", Buffer.from(pair).toString("base64")];

test.each<[string, Sent, unknown]>([
  ["a request without any is anonymous", {}, ["anonymous"]],
  ["a form without a password is anonymous", { form: "username=demo&grant_type=password" }, ["anonymous"]],
  ["another scheme is anonymous", { basic: "Bearer abc" }, ["anonymous"]],
  ["a header's are user name and password", { basic: basicOf("demo:d:emo") }, pairOf("demo:d:emo")],
  ["the scheme's case and spaces do not matter", { basic: `bASIC   ${btoa("demo:demo")} ` }, pairOf("demo:demo")],
  ["padding does not matter", { basic: `Basic ${btoa("demo:demo1").replace(/=+$/, "")}` }, pairOf("demo:demo1")],
  ["a form's are the same ones", { form: "username=demo&password=d:emo" }, pairOf("demo:d:emo")],
  ["letters beyond ASCII are the same bytes", { form: "username=jos%C3%A9&password=%E2%82%AC" }, pairOf("josé:€")],
  ["a refresh token is one of its own", { form: "refresh_token=demo:demo" }, ["refresh-token", "demo:demo"]],
  ["what else a form says does not matter", { form: "refresh_token=r&client_id=c&scope=a" }, ["refresh-token", "r"]],
  ["a user name with a colon is none that a header can say", { form: "username=de:mo&password=demo" }, null],
  ["a password without a user name", { form: "password=demo" }, null],
  ["a header that is not base64", { basic: "Basic %%%" }, null],
  ["a header with a form that has a password", { basic: basicOf("demo:demo"), form: "username=a&password=b" }, null],
  ["a header with a form that has a user name", { basic: basicOf("demo:demo"), form: "username=a" }, null],
  ["two passwords", { form: "username=a&password=b&password=c" }, null],
  ["two user names", { form: "username=a&username=b&password=c" }, null],
  ["a password and a refresh token", { form: "username=a&password=b&refresh_token=c" }, null],
])("credentials of a token request: %s", async (_, sent, expected) => {
  expect(await credentials(sent)).toEqual(expected);
});

test("a Pod that is asked without the credentials is asked anonymously, whatever the client sent", async () => {
  for (const sent of [{ basic: basicOf("demo:demo") }, { form: "username=a&password=b&password=c" }]) {
    expect(await credentials(sent, false)).toEqual(["anonymous"]);
  }
});
