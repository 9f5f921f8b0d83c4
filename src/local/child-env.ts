/** No more of our environment than a server needs: variables for AWS, TLS or telemetry would change what it does. */
export function childEnv(): Readonly<Record<string, string | undefined>> {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, TMPDIR };
}
