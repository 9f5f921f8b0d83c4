const blob = `docker/registry/v2/blobs/sha256/ab/ab${"c".repeat(62)}/data`;
/** An operator may choose any name for the folder of the blobs. These names have characters that are easily escaped wrongly. */
const prefixes = [
  "registry",
  "with space",
  "two  spaces",
  "sha256:abc",
  "a+b",
  "a%20b",
  "100%",
  "ümläut",
  "日本語",
  "e\u0301 combined",
  "😀",
  "quotes'\"",
  "(parens)!*",
  "til~de",
  "a&b=c",
  "at@comma,semi;colon$",
  "question?mark",
  "hash#mark",
  "brackets[1]<2>",
  "pipe|caret^tick`",
  "under_score.and-dash",
  `long/${"deep/".repeat(60)}end`,
  "x".repeat(400),
];

export const objectKeys: readonly string[] = [blob, ...prefixes.map((prefix) => `${prefix}/${blob}`)];
