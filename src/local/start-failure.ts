/** A start that cannot succeed for a reason that the user can mend; its message is the one line to print. */
export class StartFailure extends Error {
  override name = "StartFailure";
}
