/** Declares the types that workerd has, that Node lacks, and that modules of the Worker use which podctl imports. */
declare class IdentityTransformStream extends TransformStream<Uint8Array, Uint8Array> {
  constructor();
}
declare class FixedLengthStream extends IdentityTransformStream {
  constructor(bytes: number);
}
interface Request {
  readonly cf?: unknown;
}
