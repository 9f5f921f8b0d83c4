/** The deployed Worker, for commands that ask it. */
export type EdgeAccess = {
  readonly origin: string;
  /** The Worker's PROBE_TOKEN; null where the operator has none. */
  readonly probeToken: string | null;
  /** Who the operator is to Pods: PODCTL_USER and PODCTL_PASSWORD; null where they are not set. */
  readonly user: { readonly name: string; readonly password: string } | null;
};

export function operatorFromEnv(): EdgeAccess["user"] {
  const { PODCTL_USER: name, PODCTL_PASSWORD: password } = process.env;
  return name && password ? { name, password } : null;
}
