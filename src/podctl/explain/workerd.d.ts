/** podctl imports modules of the Worker. Some of them use types that workerd has and Node lacks; this file declares those types. */
declare class IdentityTransformStream extends TransformStream<Uint8Array, Uint8Array> {
  constructor();
}
declare class FixedLengthStream extends IdentityTransformStream {
  constructor(bytes: number);
}
interface Request {
  readonly cf?: unknown;
}
