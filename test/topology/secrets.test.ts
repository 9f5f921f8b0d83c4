/** A message about a mistake in a topology shows no secret, wherever an operator has put the secret. */
import { expect, test } from "vitest";
import { parseTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import { podText, production } from "../support/topologies.ts";

const secret = "qzjxvkwq";
/** Matches any two neighbouring characters of the secret, because the YAML parser quotes only two characters of a wrong `\x…`. */
const anyPart = /qz|zj|jx|xv|vk|kw|wq/i;

function expectNoSecret(text: string): void {
  const parsed = parseTopology("topology.yaml", text, { ...production, placeholders: { POD_A_KEY: "key" } });
  const messages = parsed.ok ? "" : parsed.error.map(formatMistake).join("\n");
  expect(messages).toMatch(/^topology\.yaml:\d+:\d+: \S/);
  expect(messages).not.toMatch(anyPart);
}

const indicators = ["", "|", ">", "*", "&", "!", "!!", "!<", "!<!", "!a!", "@", "`", "%", "'", '"', '"\\x', '"\\'];
const nodes = [
  "{",
  "[",
  "]",
  ",",
  "? ",
  "- ",
  "#",
  "a: ",
  ": ",
  '"a" ',
  "[] ",
  "*a ",
  "!a ",
  "&a &",
  "!a !",
  "u:",
  "http://u:",
];

test.each([...indicators, ...nodes])("no message shows the secret of a store that is written after %j", (before) => {
  for (const after of ["", " x", ":", ": x", "}", "@host", '"']) {
    const store = `- scheme: s3\n          credentials: ${before}${secret}${after}`;
    expectNoSecret(`pods:\n  pod-a:\n    blobs:\n      stores:\n        ${store}\n`);
  }
});

test.each([
  "http://u:$@host",
  "http://u:a/$@host",
  "http://u:a $@host",
  "http://$@b@host",
  "http://b@$@host",
  "u:$@host",
  "u:a\n$@host",
])("no message shows the password of %j, which is wrong as a URL and as a host", (form) => {
  const url = form.replace("$", secret);
  const store = { scheme: "s3", region: "eu", bucket: "b", endpoint: url };
  for (const more of [
    { registry: url },
    { token: url },
    { blobs: { stores: [], hosts: [url] } },
    { blobs: { stores: [], [url]: url } },
    { blobs: { stores: [store] } },
    { gateway: { url, key: "key" } },
  ]) {
    expectNoSecret(`pods: { pod-a: ${podText("pod-a", more)} }`);
  }
});

const placeholder = `\${${secret.toUpperCase()}}`;

test.each([
  { trust: secret },
  { gateway: secret },
  { gateway: { url: "https://a.example.net", key: [secret] } },
  { issuer: placeholder },
])("no message shows the secret of %j", (more) => expectNoSecret(`pods: { pod-a: ${podText("pod-a", more)} }`));
