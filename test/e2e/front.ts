/** A TCP balancer that a test controls. It treats connections as a load balancer or a slow line would. */
import net from "node:net";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { loopback } from "../../src/local/ports.ts";

export type Front = {
  readonly port: number;
  /** New connections go to these ports in turn. A port that refuses the connection is skipped. */
  setTargets(ports: readonly number[]): void;
  /** Limits what each client can send on a new connection. Null means no limit. */
  setPace(bytesPerSecond: number | null): void;
  /** All connections so far, the oldest first. `port` is where a connection went, and `bytes` is how much its client has sent. */
  connections(): readonly { readonly port: number; readonly bytes: number }[];
  stop(): Promise<void>;
};

export async function startFront(): Promise<Front> {
  let targets: readonly number[] = [];
  let pace: number | null = null;
  let next = 0;
  const sockets = new Set<net.Socket>();
  const connections: { port: number; bytes: number }[] = [];
  const join = async (client: net.Socket): Promise<void> => {
    sockets.add(client);
    client.on("error", () => {}).once("close", () => sockets.delete(client));
    const first = next;
    next += 1;
    const target = await firstThatAccepts(targets.map((_, index) => targets[(first + index) % targets.length] ?? 0));
    if (target === null) {
      client.destroy();
      return;
    }
    const connection = { port: target.remotePort ?? 0, bytes: 0 };
    connections.push(connection);
    client.on("data", ({ length }: Buffer) => {
      connection.bytes += length;
    });
    const there = pace === null ? pipeline(client, target) : pipeline(client, paced(pace), target);
    await Promise.allSettled([there, pipeline(target, client)]);
  };
  const server = net.createServer((client) => void join(client));
  await new Promise<void>((resolve) => server.listen(0, loopback, resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    setTargets: (ports) => {
      targets = ports;
    },
    setPace: (bytesPerSecond) => {
      pace = bytesPerSecond;
    },
    connections: () => connections.map((each) => ({ ...each })),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

async function firstThatAccepts(ports: readonly number[]): Promise<net.Socket | null> {
  for (const port of ports) {
    const socket = await connectTo(port);
    if (socket !== null) return socket;
  }
  return null;
}

function connectTo(port: number): Promise<net.Socket | null> {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: loopback });
    socket.once("connect", () => resolve(socket));
    socket.on("error", () => resolve(null));
  });
}

const paced = (bytesPerSecond: number): Transform =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      setTimeout(() => done(null, chunk), (chunk.length / bytesPerSecond) * 1_000);
    },
  });
