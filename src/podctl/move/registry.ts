import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { claimedAccess } from "../../auth/verify.ts";
import { redirectTarget } from "../../blobs/head-proof.ts";
import type { Pod } from "../../directory/directory.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import { type Access, covers } from "../../oci/scope.ts";
import { CliFailure } from "../failure.ts";
import { inOneLine } from "../output.ts";
import type { User } from "../target/operator.ts";
import { type Connections, exchange, openConnections, type Received, readBytes, type Sent } from "./http-exchange.ts";
import { createLimit } from "./limit.ts";
import { openTokens, type Tokens } from "./tokens.ts";

type Question = {
  readonly method?: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** A path with its query, or a URL that the registry itself named. */
  readonly path: string;
  readonly scopes: readonly Access[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | Readable;
  /** Called before each try of a write. If it throws, the write is not sent. */
  readonly mayWrite?: MayWrite;
  /** How many bytes the answer may have, if not {@link maxAnswerBytes}. */
  readonly maxBytes?: number;
};

/** Throws a CliFailure if this run must not write any more, for example because another operator has changed the group's assignment. */
export type MayWrite = () => Promise<void>;

export type Answer = Omit<Received, "body"> & { readonly bytes: Uint8Array };

export type Registry = {
  readonly pod: Pod;
  /**
   * While the registry cannot be reached or answers with an outage, such as 503, asks again for about a minute. Then throws a CliFailure. If an
   * answer takes longer than `answerMs` or has too many bytes, throws a CliFailure at once.
   */
  readonly ask: (question: Question) => Promise<Answer>;
  /** Whether the Pod's token service grants the wanted rights to the user. True if the deployment needs no tokens. */
  readonly isGranted: (wanted: Access) => Promise<boolean>;
  /** Asks once, and gives the answer's body as a stream. Follows the redirect of a blob to its storage, without the token. */
  readonly open: (question: Question) => Promise<Result<Received, string>>;
  /** Ends the requests that are under way. All later requests fail at once. */
  readonly close: () => void;
};

/** The registry from which a move copies, and the one to which it copies. */
export type Both = { readonly source: Registry; readonly target: Registry };

/** This is enough for every manifest, because distribution takes manifests of at most 4 MiB. */
const maxAnswerBytes = 16 * 1024 * 1024;
/** These pauses last about a minute together, because a registry may be in a restart. */
export const pausesMs: readonly number[] = [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000];
export const isOutage = (status: number): boolean => status === 429 || (status >= 500 && status !== 501);

type RegistryOptions = {
  readonly user: User | null;
  /** How many requests may be under way at once. */
  readonly jobs: number;
  readonly auth: "token" | "none";
  readonly limits?: Limits;
};

export type Limits = {
  /** How long a connection may be silent: `read` is for GET and HEAD, and `write` for all other methods. */
  readonly idleMs: { readonly read: number; readonly write: number };
  /** How long a whole answer of `ask` may take. Without this limit, a Pod that sends a byte now and then would keep the command running for ever. */
  readonly answerMs: number;
  readonly pausesMs: readonly number[];
};

/**
 * A write gets more time than a read, because some registries stop in the middle of a write when the client leaves. For example, distribution then
 * deletes a manifest, but leaves most of the manifest's thousands of tags.
 */
const defaultLimits: Limits = { idleMs: { read: 60_000, write: 300_000 }, answerMs: 10 * 60_000, pausesMs };

/** `fresh`: with a new token. */
type Sending = { readonly fresh: boolean; readonly signal: AbortSignal };

/**
 * Returns a signal that is aborted after `ms`, or when `closing` is aborted. With `AbortSignal.any`, Node would keep each signal for as long as
 * `closing` lives. A move of 300,000 tags would need gigabytes.
 */
function startLimit(ms: number, closing: AbortSignal): { readonly signal: AbortSignal; readonly end: () => void } {
  const own = new AbortController();
  const stop = () => own.abort();
  const timer = setTimeout(stop, ms);
  if (closing.aborted) stop();
  closing.addEventListener("abort", stop, { once: true });
  const end = () => {
    clearTimeout(timer);
    closing.removeEventListener("abort", stop);
  };
  return { signal: own.signal, end };
}

/**
 * `send` sends a request once, with its token. `sendWhole` also reads the answer. It throws a CliFailure if this takes longer than `answerMs`, if the
 * answer has too many bytes, or if `close` was called.
 */
function createSender(pod: Pod, { auth, limits, tokens, connections, closing }: SenderOptions) {
  const { answerMs } = limits;
  const send = async (question: Question, sending: Sending): Promise<Result<Received, string>> => {
    const { method = "GET", path, scopes, headers = {}, body } = question;
    const { fresh, signal } = sending;
    const isOpen = auth === "none" || scopes.length === 0;
    const authorization = isOpen ? {} : { Authorization: `Bearer ${await tokens.get(scopes, { fresh })}` };
    const url = URL.parse(path, pod.registry);
    if (url === null) return err("it names a place that is not a URL");
    // A Pod's `Link` or `Location` may lead to another host (`//host/…`), and that host must not get the token.
    if (url.origin !== new URL(pod.registry).origin) return err(`it names a place on "${url.host}"`);
    const isRead = method === "GET" || method === "HEAD";
    const idleMs = isRead ? limits.idleMs.read : limits.idleMs.write;
    if (!isRead) await question.mayWrite?.();
    const sent = { method, url, idleMs, signal, headers: { ...headers, ...authorization } };
    return exchange(body === undefined ? sent : { ...sent, body }, connections);
  };
  const receiveWhole = async (question: Question, sending: Sending): Promise<Result<Answer, string>> => {
    const received = await send(question, sending);
    if (!received.ok) return received;
    const { body, ...head } = received.value;
    const bytes = await readBytes(body, question.maxBytes ?? maxAnswerBytes);
    if (bytes.ok) return ok({ ...head, bytes: bytes.value });
    if (bytes.error.kind === "broken off") return err(bytes.error.text);
    throw new CliFailure(
      `the registry of Pod "${pod.id}" was asked for ${askedFor(question)}, and ${bytes.error.text}; look at what it answers there`,
    );
  };
  const sendWhole = async (question: Question, fresh: boolean): Promise<Result<Answer, string>> => {
    const late = startLimit(answerMs, closing.signal);
    const answer = await receiveWhole(question, { fresh, signal: late.signal }).finally(late.end);
    if (closing.signal.aborted) throw new CliFailure(`the work at Pod "${pod.id}" has been given up`);
    if (answer.ok || !late.signal.aborted) return answer;
    throw new CliFailure(
      `the registry of Pod "${pod.id}" has not answered ${askedFor(question)} whole in ${answerMs / 1_000} s; run the command again, it goes on where it was`,
    );
  };
  return { send, sendWhole };
}

/** Names the request, because a registry may answer 500 only for one broken image, which the operator must find. */
const refusalOf = (question: Question, { status, bytes }: Answer): string =>
  [`it answers ${status} to ${askedFor(question)}`, textOf(bytes)].filter((text) => text !== "").join(": ");

/** Returns the beginning of a registry's answer, for a message. */
export const textOf = (bytes: Uint8Array): string => inOneLine(new TextDecoder().decode(bytes).slice(0, 300).trim());

const askedFor = ({ method = "GET", path }: Question): string => `${method} "${path.split("?")[0]}"`;

type SenderOptions = Pick<RegistryOptions, "auth"> & {
  readonly limits: Limits;
  readonly tokens: Tokens;
  readonly connections: Connections;
  readonly closing: AbortController;
};

export function openRegistry(pod: Pod, options: RegistryOptions): Registry {
  const { user, jobs, auth, limits = defaultLimits } = options;
  const connections = openConnections(2 * jobs);
  const closing = new AbortController();
  const tokens = openTokens(pod, user);
  const isAllowed = createLimit(jobs);
  const { send, sendWhole } = createSender(pod, { auth, limits, tokens, connections, closing });
  return {
    pod,
    ask: (question) =>
      isAllowed(async () => {
        let last = "";
        for (const pauseMs of [...limits.pausesMs, null]) {
          let answer = await sendWhole(question, false);
          // The token may have expired, or the token service may have been restarted with another key. So we try again with a new token.
          if (answer.ok && answer.value.status === 401) answer = await sendWhole(question, true);
          if (answer.ok && !isOutage(answer.value.status)) return answer.value;
          last = answer.ok ? refusalOf(question, answer.value) : answer.error;
          if (pauseMs !== null) await sleep(pauseMs);
        }
        throw new CliFailure(
          `the registry of Pod "${pod.id}" fails: ${last}; run the command again, it goes on where it was`,
        );
      }),
    isGranted: (wanted) =>
      isAllowed(async () => auth === "none" || covers(claimedAccess(await tokens.get([wanted])) ?? [], wanted)),
    open: (question) =>
      isAllowed(async () => {
        const { signal } = closing;
        return follow(await send(question, { fresh: false, signal }), {
          ...{ pod, connections, signal, idleMs: limits.idleMs.read },
          method: question.method === "HEAD" ? "HEAD" : "GET",
        });
      }),
    close: () => {
      closing.abort();
      connections.close();
    },
  };
}

export const guardWrites = (registry: Registry, mayWrite: MayWrite): Registry => ({
  ...registry,
  ask: (question) => registry.ask({ ...question, mayWrite }),
  open: (question) => registry.open({ ...question, mayWrite }),
});

/**
 * Returns the path and the query of a URL in a registry's `Link` or `Location`. Null if the text is not a URL. A relative URL begins at `asked`, the
 * path of the request. The host is left out, because a registry may name the edge's host, but a move talks to the Pod.
 */
export function placeOf(text: string, asked: string, { registry }: Pod): string | null {
  const url = URL.parse(text, registry + asked);
  return url === null ? null : url.pathname + url.search;
}

type Following = Pick<Sent, "method" | "idleMs" | "signal"> & { readonly pod: Pod; readonly connections: Connections };

/**
 * Follows one redirect, as clients do, but only to one of the Pod's blob hosts. Otherwise a Pod could make podctl read from a host that only podctl
 * can reach.
 */
async function follow(
  received: Result<Received, string>,
  { pod, connections, ...sent }: Following,
): Promise<Result<Received, string>> {
  if (!received.ok || received.value.status < 300 || received.value.status > 308) return received;
  const { headers, body } = received.value;
  body.resume();
  const url = redirectTarget(headers.location ?? null, pod);
  if (url === null) return err("it redirects a blob to a host that neither its blobs.hosts nor its stores name");
  // We send no token, because the storage must not see it.
  return exchange({ url, headers: {}, ...sent }, connections);
}
