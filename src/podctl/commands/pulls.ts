import { Command, InvalidArgumentError } from "commander";
import { parseWrittenDigest } from "../../topology/check.ts";
import { CliFailure, orFail } from "../failure.ts";
import { count, counted, inOneLine, print, printJson } from "../output.ts";
import { countPulls, maxPullers, type Puller, type Pulls } from "../pulls/count-pulls.ts";
import { readLog, unreadable } from "../replay/lines.ts";

type Options = { readonly since?: Date; readonly json?: boolean };

const maxShown = 100;

export function pullsCommand(): Command {
  return new Command("pulls")
    .description("Shows from the edge's log who pulled a digest: user, address, client program, repository and time.")
    .argument("<digest>", "the digest of a manifest, an image index or a blob, such as sha256:…")
    .argument("<log...>", "one or more files with the edge's own JSON lines; - is standard input")
    .option("--since <time>", "leave out pulls before this time, such as 2026-11-23 or 2026-11-23T08:00:00Z", parseTime)
    .option("--json", "the result as JSON")
    .addHelpText(
      "after",
      `
A file with the edge's own lines, and the files of Logpush:
  podctl pulls sha256:… access.log --since 2026-11-23
  zcat logs/*.gz | jq -r '.Logs[].Message[]' | podctl pulls sha256:… -

A pull by tag counts as a pull of the manifest that the tag named at that time. To pull an image of several platforms, a client pulls the
image index and then the manifest of its platform, so you can ask for either digest. The user is the \`sub\` of the token. No user is shown
if the pull was anonymous, or if the edge could not verify the token and left that to the Pod.

If the Worker's variable LOG_SAMPLE is 0.05, for example, the edge logs only 5 % of the pulls. Each line contains this number, and podctl
estimates from it how many pulls there were. A client that pulled only a few times may have no line. docs/logs.md shows how to log every
request.`,
    )
    .action(async (text: string, logs: readonly string[], { since, json }: Options) => {
      const digest = orFail(parseWrittenDigest(text));
      const files = [...new Set(logs)].map((name) => ({ name, lines: readLog(name) }));
      const pulls = await countPulls(files, { digest, since: since ?? null });
      if (json) printJson(pulls);
      else print(formatPulls(pulls));
      const { unreadFiles } = pulls;
      if (unreadFiles.length > 0)
        throw new CliFailure(unreadable(unreadFiles.join('", "'), "the edge's own log in JSON"));
    });
}

/** We refuse a time without a zone: JavaScript would read it in this machine's zone, but the log is in UTC. A date without a time is 00:00 UTC. */
function parseTime(text: string): Date {
  const isTime = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/.test(text);
  const [time, day] = [new Date(text), new Date(text.slice(0, 10))];
  // `Date` takes 31 November for 1 December.
  const isDay = !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text.slice(0, 10));
  if (isTime && isDay && !Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError(`"${text}" is not a day such as 2026-11-23, or a time such as 2026-11-23T08:00:00Z`);
}

function formatPulls({ digest, pulls, pullers, lines, unreadAt, sample }: Pulls): string {
  const about = sample < 1 ? "about " : "";
  const all = counted(lines.pulls + lines.other + lines.unread, "line");
  const left = lines.unread - unreadAt.length;
  const where = [...unreadAt.map(inOneLine), ...(left > 0 ? [`${count(left)} more`] : [])].join(", ");
  const unread = lines.unread === 0 ? "" : `; ${counted(lines.unread, "line")} not read: ${where}`;
  const shown = pullers.slice(0, maxShown).flatMap((puller) => describe(puller, about));
  const further = pullers.length - maxShown;
  const isAll = pullers.length < maxPullers;
  const clients = isAll ? counted(pullers.length, "client") : `at least ${count(maxPullers)} clients`;
  const inJson = isAll ? "--json has them" : `--json has the first ${count(maxPullers)} clients of the log`;
  return [
    `${digest}: ${about}${counted(pulls, "pull")} by ${clients}, in ${all}${unread}`,
    ...shown,
    ...(further > 0 ? [`and ${isAll ? "" : "at least "}${counted(further, "more client")}; ${inJson}`] : []),
    ...(sample < 1
      ? [`Not every pull has a line (sample ${sample}), so a client that pulled only a few times may be missing.`]
      : []),
  ].join("\n");
}

/** Clients choose some of these texts, such as the user agent, so we escape line breaks in them. */
function describe({ subject, client, country, asn, userAgent, repository, first, last, pulls }: Puller, about: string) {
  const place = [country, asn === null ? null : `AS${asn}`].filter((part) => part !== null).join(", ");
  const who = `${subject ?? "(no user)"} at ${client ?? "(no address)"}${place === "" ? "" : ` (${place})`}`;
  const times = first === last ? first : `${first} to ${last}`;
  return [
    `${who}, ${userAgent ?? "(no user agent)"}`,
    `  ${repository}: ${about}${counted(pulls, "pull")}, ${times}`,
  ].map(inOneLine);
}
