/** The calls of Cloudflare's KV API that podctl makes: https://developers.cloudflare.com/api/resources/kv/ */
import { setTimeout as sleep } from "node:timers/promises";
import * as v from "valibot";
import { parseJson } from "../../lib/json.ts";
import type { Result } from "../../lib/result.ts";
import { CliFailure } from "../failure.ts";
import { bearer, type Called, call } from "../http-call.ts";
import { inOneLine, note } from "../output.ts";

export type KvAddress = {
  /** The URL of the API; undefined means Cloudflare's own. */
  readonly baseUrl: string | undefined;
  readonly token: string;
  readonly account: string;
  readonly namespace: string;
};

export type Page = {
  readonly keys: readonly { readonly name: string; readonly metadata?: unknown }[];
  /** Where the next page begins; null on the last page. */
  readonly cursor: string | null;
};
type Entry = { readonly key: string; readonly value: string; readonly metadata?: unknown };

type KvApi = {
  /** Returns at most 1,000 keys, in the order of the keys. A page can be empty and still have a cursor. */
  listPage(prefix: string | undefined, cursor: string | null): Promise<Page>;
  /** Returns the values of at most 100 keys. A key without a value is null or left out. */
  getMany(keys: readonly string[]): Promise<Readonly<Record<string, unknown>>>;
  /** Writes at most 10,000 keys. Returns the keys that KV did not write. Throws a CliFailure instead of beginning a try after `notAfter`. */
  putMany(entries: readonly Entry[], notAfter?: Date): Promise<readonly string[]>;
  /** Deletes at most 10,000 keys. Returns the keys that KV did not delete. */
  deleteMany(keys: readonly string[]): Promise<readonly string[]>;
};

/** What podctl reads of each kind of answer. If the API has nothing to report for a bulk call, `result` may be null. */
const pageAnswer = v.object({
  success: v.literal(true),
  result: v.array(v.object({ name: v.string(), metadata: v.optional(v.unknown()) })),
  result_info: v.nullish(v.object({ cursor: v.nullish(v.string()) })),
});
const valuesAnswer = v.object({
  success: v.literal(true),
  result: v.nullable(v.object({ values: v.optional(v.record(v.string(), v.unknown())) })),
});
const bulkAnswer = v.object({
  success: v.literal(true),
  result: v.nullable(v.object({ unsuccessful_keys: v.optional(v.array(v.string())) })),
});
const refusal = v.object({ errors: v.array(v.object({ code: v.number(), message: v.string() })) });

type Answer<T> = v.GenericSchema<unknown, T>;
type Request = {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly notAfter?: Date | undefined;
};

export function openKvApi({ baseUrl = "https://api.cloudflare.com/client/v4", ...address }: KvAddress): KvApi {
  const names = [address.account, address.namespace].map(encodeURIComponent);
  const root = `${baseUrl.replace(/\/+$/, "")}/accounts/${names[0]}/storage/kv/namespaces/${names[1]}`;
  const headers = { ...bearer(address.token), "Content-Type": "application/json" };
  const noteOnce = createNoteOnce();
  // A server's answer may repeat the request's headers, and with them the token. So we remove the token before a message quotes the answer.
  const withoutToken = (called: Called) => ({ ...called, text: called.text.replaceAll(address.token, "…") });
  const ask = async <T>(answer: Answer<T>, { method, path, body, notAfter }: Request): Promise<T> => {
    const sent = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const send = async () => {
      if (notAfter !== undefined && Date.now() > notAfter.getTime()) throw new CliFailure(tooSlow);
      return call(root + path, { ...sent, deadlineMs, maxBodyBytes: maxAnswerBytes });
    };
    const called = await callAgain(send, noteOnce);
    if (called.status !== 200) throw new CliFailure(describeRefusal(withoutToken(called)));
    const parsed = v.safeParse(answer, parseJson(called.text));
    if (parsed.success) return parsed.output;
    throw new CliFailure(describeWrongAnswer(withoutToken(called)));
  };
  return {
    async listPage(prefix, cursor) {
      const query = new URLSearchParams({
        limit: "1000",
        ...(prefix ? { prefix } : {}),
        ...(cursor ? { cursor } : {}),
      });
      const { result, result_info } = await ask(pageAnswer, { method: "GET", path: `/keys?${query}` });
      return { keys: result, cursor: result_info?.cursor || null };
    },
    async getMany(keys) {
      const body = { keys, type: "text" };
      return (await ask(valuesAnswer, { method: "POST", path: "/bulk/get", body })).result?.values ?? {};
    },
    async putMany(body, notAfter) {
      return (await ask(bulkAnswer, { method: "PUT", path: "/bulk", body, notAfter })).result?.unsuccessful_keys ?? [];
    },
    async deleteMany(body) {
      return (await ask(bulkAnswer, { method: "POST", path: "/bulk/delete", body })).result?.unsuccessful_keys ?? [];
    },
  };
}

const tooSlow = "the KV API has made podctl wait for too long; run the command again when it answers quickly";
const deadlineMs = 120_000;
const maxAnswerBytes = 64 * 1024 * 1024;
const maxTries = 7;
const firstPauseMs = 500;
const maxPauseMs = 8_000;
/** The API limits how many calls we may make in five minutes. After five minutes the count begins again, so we never wait longer. */
const maxRetryAfterSeconds = 300;
const notedWaitSeconds = 5;

/** Repeats a call that fails. All calls may be repeated, because writing or deleting the same keys twice changes nothing. */
async function callAgain(send: () => Promise<Result<Called, string>>, noteOnce: typeof note): Promise<Called> {
  for (let tries = 1; ; tries += 1) {
    const called = await send();
    const isLast = tries === maxTries;
    if (called.ok && (isLast || !isTemporary(called.value))) return called.value;
    if (!called.ok) {
      const text = `the KV API cannot be reached: ${called.error}`;
      if (isLast) throw new CliFailure(`${text}; podctl tried ${maxTries} times`);
      noteOnce(`${text}; trying again for a while`);
    } else {
      noteOnce(`the KV API answers ${called.value.status}; trying again for a while`);
    }
    await sleep(pauseMs(called.ok ? called.value : null, tries));
  }
}

/** `x-should-retry` is not in the API's documentation, but Cloudflare's own SDKs obey it. */
const isTemporary = ({ status, headers }: Called): boolean =>
  (status === 429 || status >= 500) && headers.get("x-should-retry") !== "false";

function pauseMs(called: Called | null, tries: number): number {
  const seconds = Number(called?.headers.get("Retry-After") ?? Number.NaN);
  if (Number.isNaN(seconds)) return Math.min(firstPauseMs * 2 ** (tries - 1), maxPauseMs);
  if (seconds >= notedWaitSeconds) note(`the KV API asks to wait ${seconds} s`);
  return Math.min(Math.max(seconds, 0), maxRetryAfterSeconds) * 1000;
}

/** Returns a `note` that prints each text only once, because several calls run at once and each may be repeated. */
function createNoteOnce(): typeof note {
  const noted = new Set<string>();
  return (text) => {
    if (!noted.has(text)) note(text);
    noted.add(text);
  };
}

export const wantedPermission = "Workers KV Storage: Edit, or Read for a command that only reads";

const maxShownCharacters = 300;

function describeRefusal({ status, text }: Called): string {
  const parsed = v.safeParse(refusal, parseJson(text));
  const errors = parsed.success ? parsed.output.errors.map(({ code, message }) => `${message} (code ${code})`) : [];
  const said = inOneLine(errors.join(", ") || "without a reason").slice(0, maxShownCharacters);
  return `the KV API answered: ${status} ${said}${whatToDo(status)}`;
}

function whatToDo(status: number): string {
  if (status === 401 || status === 403)
    return `; the token in PODCTL_API_TOKEN needs the permission ${wantedPermission}`;
  return status === 404 ? "; check account_id and the id of the KV namespace in wrangler.toml" : "";
}

/**
 * Describes an answer that is not in the API's form, which is a failure even with status 200. Otherwise a proxy's page would look like an empty
 * namespace, or like a write that was done.
 */
function describeWrongAnswer({ text }: Called): string {
  const isJson = parseJson(text) !== undefined;
  const what = isJson
    ? inOneLine(text).slice(0, maxShownCharacters)
    : "not JSON; perhaps a proxy answered with a page of its own";
  return `what came back is not an answer of the KV API: it is ${what}`;
}
