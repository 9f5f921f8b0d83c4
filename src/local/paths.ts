import { fileURLToPath } from "node:url";

/** The repository's root, with a slash at its end. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

export const exampleFile = "topology.example.yaml";
export const stackFile = `${root}.local/stack.json`;
export const defaultStateDir = `${root}.local/state`;

/** Returns the file that describes the running stack: the file that `PODCTL_STACK` names, or else that of `npm start`. */
export const stackFileInUse = (): string => process.env["PODCTL_STACK"] ?? stackFile;
