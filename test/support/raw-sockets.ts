/** Plain sockets for tests that choose every byte: a client, and a service whose answers the test gives. */
import net from "node:net";

export type RawService = {
  readonly port: number;
  /** Everything received so far, one text for each connection. */
  readonly received: string[];
  readonly sockets: net.Socket[];
  stop(): Promise<void>;
};

/** Whenever bytes arrive, calls `answer` with all that the connection has sent so far, and writes the string that `answer` returns. */
export async function rawService(answer: (received: string, socket: net.Socket) => string | null): Promise<RawService> {
  const received: string[] = [];
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => {
    const index = sockets.push(socket) - 1;
    received[index] = "";
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      received[index] += chunk.toString("latin1");
      const text = answer(received[index] ?? "", socket);
      if (text !== null) socket.write(text, "latin1");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address() as net.AddressInfo;
  return {
    port: address.port,
    received,
    sockets,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

export type RawClient = {
  readonly socket: net.Socket;
  send(text: string): void;
  received(): string;
  /** The code of the socket's error, if it has had one. */
  error(): string | undefined;
  closed(): boolean;
};

export async function rawClient(url: string): Promise<RawClient> {
  const socket = net.connect({ port: Number(new URL(url).port), host: "127.0.0.1" });
  let received = "";
  let error: string | undefined;
  let closed = false;
  await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
  });
  socket.on("error", (cause: NodeJS.ErrnoException) => {
    error = cause.code;
  });
  socket.on("close", () => {
    closed = true;
  });
  return {
    socket,
    send: (text) => void socket.write(text, "latin1"),
    received: () => received,
    error: () => error,
    closed: () => closed,
  };
}

export const count = (text: string, part: string): number => text.split(part).length - 1;
