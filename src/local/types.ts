/** What the local stack offers to `npm start`, tests, e2e and conformance. Types only. */
import type { JWK } from "jose";

export type PodKind = "toy" | "registry" | "distribution-v3";
export type PodId = "pod-a" | "pod-b";
export type ServiceName = "registry" | "token" | "storage";

/** `url` is the tap in front of a service, `direct` the service itself. */
export type Service = { readonly url: string; readonly direct: string };
export type PodServices = Readonly<Record<ServiceName, Service>>;

/** A token service's key pair. */
export type SigningKey = {
  readonly privateKey: CryptoKey;
  /** With `kid` in libtrust form, `alg` and `use`. */
  readonly publicJwk: JWK;
};

export type AuthorizationKind = "none" | "basic" | "bearer" | "other";

/** One request as a tap saw it. `status` and `ms` are null while no answer has ended, for good if none ever does. */
export type SeenRequest = {
  readonly method: string;
  readonly path: string;
  readonly status: number | null;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly authorization: AuthorizationKind;
  readonly authorizationSha256: string | null;
  readonly ms: number | null;
};

export type Fault =
  | { readonly mode: "none" }
  | { readonly mode: "refuse" }
  | { readonly mode: "hang" }
  | { readonly mode: "reset" }
  | { readonly mode: "delay"; readonly ms: number }
  | { readonly mode: "status"; readonly status: number };

/** The Worker's own line about a request, as far as the stack reads it; the rest passes through. */
export type EdgeRecord = {
  readonly at: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly outcome: string;
  readonly endpoint: string;
  readonly repository?: string;
  readonly pod?: string;
  readonly requestBytes: number | null;
  readonly responseBytes: number | null;
  readonly kvReads: number;
  readonly podRequests: number;
  /** Of a blob's redirect: whence its proof came. */
  readonly proof?: "memory" | "cache" | "manifest" | "head";
  readonly ms: number;
};

export type StackOptions = {
  readonly pods?: PodKind;
  /** 0 takes a free one. */
  readonly edgePort?: number;
  readonly stateDir?: string;
  /** Overrides of the Worker's variables. */
  readonly env?: Readonly<Record<string, string>>;
  /** Instead of keys made for this stack alone. */
  readonly sealingKeys?: { readonly publicJwk: JWK; readonly privateJwk: JWK };
  /** Edits the topology's text before its placeholders are filled. */
  readonly topology?: (text: string) => string;
  readonly seedImages?: boolean;
  /** Toy Pods then take manifests whose blobs they do not have. */
  readonly lenientManifests?: boolean;
  /** Token keys of a test's own, to sign what no token service would; extractable, as registries want the public half in a file. */
  readonly signingKeys?: Readonly<Partial<Record<PodId, SigningKey>>>;
};

export type Stack = {
  readonly edge: string;
  readonly control: string;
  /** Absolute; what wrangler's `--persist-to` takes. */
  readonly stateDir: string;
  readonly pods: Readonly<Record<PodId, PodServices>>;
  seen(pod: PodId, service: ServiceName): readonly SeenRequest[];
  clearSeen(): void;
  setFault(pod: PodId, service: ServiceName, fault: Fault): Promise<void>;
  edgeSeen(): readonly EdgeRecord[];
  /** Whatever the Worker logged, as it was written. */
  edgeLines(): readonly string[];
  /** Resolves when the Worker has been silent for a moment: its lines come after its answers. */
  edgeSettled(): Promise<void>;
  kvReads(): number;
  putKv(key: string, value: string): Promise<void>;
  deleteKv(key: string): Promise<void>;
  workerdPid(): number;
  /** The edge alone, on the same port and directory: as in a new location, or (`kept`) as another isolate of the same one. */
  restartEdge(caches?: "empty" | "kept"): Promise<void>;
  stop(): Promise<void>;
};
