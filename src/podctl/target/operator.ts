/** The operator's logins, which podctl reads from environment variables. */
import type { DirectoryRecord } from "../../directory/records.ts";

export type User = { readonly name: string; readonly password: string };

const nameOf = (pod: string): string => pod.toUpperCase().replaceAll("-", "_");
export const userVariable = (pod: string): string => `PODCTL_USER_${nameOf(pod)}`;
export const passwordVariable = (pod: string): string => `PODCTL_PASSWORD_${nameOf(pod)}`;

/** The login for all Pods. */
export function operatorFromEnv(): User | null {
  const { PODCTL_USER: name, PODCTL_PASSWORD: password } = process.env;
  return name && password ? { name, password } : null;
}

/** The login that is only for this Pod. */
export function ownLogin(pod: string): User | null {
  const { [userVariable(pod)]: name, [passwordVariable(pod)]: password } = process.env;
  return name && password ? { name, password } : null;
}

/** The settings that decide which Pods may see a login. Null if the directory record could not be read. */
export type Settings = Pick<DirectoryRecord, "credentials" | "default"> | null;

/**
 * Whether a Pod may see the login for all Pods. With `credentials: own`, this login belongs to the default Pod. Any other Pod that sees it could use
 * it at the default Pod.
 */
export const maySeeLogin = (pod: string, settings: Settings): boolean =>
  settings !== null && (settings.credentials === "shared" || settings.default === pod);

/** Returns the login that a Pod gets: the Pod's own, else the login for all Pods if this Pod may see it. */
export const loginAt = (pod: string, forAll: User | null, settings: Settings): User | null =>
  ownLogin(pod) ?? (maySeeLogin(pod, settings) ? forAll : null);
