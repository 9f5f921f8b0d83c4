import { fileURLToPath } from "node:url";

/** The repository's root, with a slash at its end. */
export const root = fileURLToPath(new URL("../../", import.meta.url));
export const defaultStateDir = `${root}.local/state`;
export const stackFile = `${root}.local/stack.json`;
