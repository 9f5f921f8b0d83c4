/** Test files that need only npm packages run several at a time, because many of them wait for real deadlines and cache times. */
export const sideBySide = {
  maxWorkers: 6,
  // The tests would need one and a half times the CPU time if each file got a fresh copy of all modules.
  isolate: false,
  // Miniflare hands all certificates of this variable's file to each workerd that it starts, which takes a third of the CPU time of a start.
  env: { NODE_EXTRA_CA_CERTS: "" },
  testTimeout: 30_000,
  // The default of one second is too short on a busy machine. A test that must prove how fast something is gives its own timeout to `expect.poll`.
  expect: { poll: { timeout: 10_000 } },
  hookTimeout: 60_000,
};
