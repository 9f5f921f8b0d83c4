type GatewayOutcome =
  | "forwarded"
  /** A blob was copied from another Pod's store. */
  | "mounted"
  | "not-mounted"
  | "refused"
  | "unavailable"
  | "client-left"
  | "failed";

/** The log line of one request. The path has no query, because the grant in the query is as good as a password. */
export type GatewayRecord = {
  readonly log: "gateway";
  readonly at: string;
  readonly method: string;
  readonly path: string;
  /** 499 means that the client left before there was an answer. */
  readonly status: number;
  readonly outcome: GatewayOutcome;
  readonly pod?: string;
  readonly repository?: string;
  readonly cause?: string;
  readonly digest?: string;
  readonly copiedBytes?: number;
  /** How many bytes of the request's body were received. */
  readonly requestBytes: number;
  readonly client: string;
  readonly ms: number;
};

export type WriteLog = (line: object) => void;

export const writeToStdout: WriteLog = (line) => void process.stdout.write(`${JSON.stringify(line)}\n`);
