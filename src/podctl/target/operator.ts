import type { DirectoryRecord } from "../../directory/records.ts";
import { CliFailure } from "../failure.ts";

export type User = { readonly name: string; readonly password: string };

const nameOf = (pod: string): string => pod.toUpperCase().replaceAll("-", "_");
export const userVariable = (pod: string): string => `PODCTL_USER_${nameOf(pod)}`;
export const passwordVariable = (pod: string): string => `PODCTL_PASSWORD_${nameOf(pod)}`;

/** The login for all Pods. */
export const operatorFromEnv = (): User | null => loginIn("PODCTL_USER", "PODCTL_PASSWORD");

/** The login that is only for this Pod. */
export const ownLogin = (pod: string): User | null => loginIn(userVariable(pod), passwordVariable(pod));

/** Throws if only one of the two variables is set, because podctl would otherwise silently use another login or none. */
function loginIn(userName: string, passwordName: string): User | null {
  const { [userName]: name, [passwordName]: password } = process.env;
  if (name && password) return { name, password };
  if (!name && !password) return null;
  const [set, unset] = name ? [userName, passwordName] : [passwordName, userName];
  throw new CliFailure(`${set} is set and ${unset} is not: set both or neither`);
}

/** Returns the token in the first of these variables that is set. If the value cannot be a token, the error does not show it. */
export function tokenFromEnv(...names: readonly string[]): string | null {
  for (const name of names) {
    const token = process.env[name]?.trim();
    if (!token) continue;
    if (/^[!-~]+$/.test(token)) return token;
    throw new CliFailure(
      `${name} is not a token: it has a line break, a space or another character that no token has; set it again`,
    );
  }
  return null;
}

/** The settings that decide which Pods may see a login. Null if the directory record could not be read. */
export type Settings = Pick<DirectoryRecord, "credentials" | "default"> | null;

/**
 * Whether a Pod may see the login for all Pods. With `credentials: own`, this login belongs to the default Pod. Any other Pod that saw the login
 * could use it at the default Pod.
 */
export const maySeeLogin = (pod: string, settings: Settings): boolean =>
  settings !== null && (settings.credentials === "shared" || settings.default === pod);

export const loginAt = (pod: string, forAll: User | null, settings: Settings): User | null =>
  ownLogin(pod) ?? (maySeeLogin(pod, settings) ? forAll : null);
