import { hostname, userInfo } from "node:os";

/** Who writes, as other operators get to see it: `PODCTL_ACTOR`, else the user and machine. */
export function actor(): string {
  const named = process.env["PODCTL_ACTOR"];
  if (named) return named;
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    return hostname();
  }
}
