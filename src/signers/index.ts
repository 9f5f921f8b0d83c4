import { s3 } from "./s3.ts";

/** Every scheme that signs, by its id. A new one is its file, its vectors and a line here. */
export const signers = { s3 } as const;
