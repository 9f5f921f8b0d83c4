/** Finds out which ports of this machine's loopback address are free, and on which ports a server listens. */
import net from "node:net";

export const loopback = "127.0.0.1";

/**
 * Returns a free port, for servers that cannot say which port they took. Another process may take that port first, so callers must be ready to try
 * again.
 */
export const freePort = (): Promise<number> => takeForAMoment(0);

/** Port 0 is always free, because it means any free port. */
export const isPortFree = (port: number): Promise<boolean> =>
  takeForAMoment(port).then(
    () => true,
    () => false,
  );

function takeForAMoment(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once("error", reject);
    server.listen(port, loopback, () => {
      const address = server.address();
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject()));
    });
  });
}

export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: loopback });
    const settle = (listening: boolean) => () => {
      socket.destroy();
      resolve(listening);
    };
    socket.once("connect", settle(true)).once("error", settle(false));
  });
}
