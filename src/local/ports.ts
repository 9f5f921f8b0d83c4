import { once } from "node:events";
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

async function takeForAMoment(port: number): Promise<number> {
  const server = net.createServer();
  await once(server.listen(port, loopback), "listening");
  const { port: taken } = server.address() as net.AddressInfo;
  await once(server.close(), "close");
  return taken;
}

export async function isListening(port: number): Promise<boolean> {
  const socket = net.connect({ port, host: loopback });
  const isConnected = await once(socket, "connect").then(
    () => true,
    () => false,
  );
  socket.destroy();
  return isConnected;
}
