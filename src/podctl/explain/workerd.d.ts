/** What workerd has and Node lacks, as far as the Worker's own modules name it when podctl imports them. */
declare class IdentityTransformStream extends TransformStream<Uint8Array, Uint8Array> {
  constructor();
}
declare class FixedLengthStream extends IdentityTransformStream {
  constructor(bytes: number);
}
interface Request {
  readonly cf?: unknown;
}
