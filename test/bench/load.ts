/** A client that sends one request again and again over kept connections, and reads the answers. */
import http from "node:http";

export type Target = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Any other status ends the run, because the run would then measure another kind of answer. */
  readonly status: number;
};

export class Load {
  readonly #connections: number;
  readonly #agent: http.Agent;

  /** `connections`: how many requests are sent at a time, each over a connection of its own. */
  constructor(connections = 8) {
    this.#connections = connections;
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  }

  async send(count: number, targetOf: (index: number) => Target): Promise<void> {
    let next = 0;
    const sendSome = async () => {
      for (let index = next++; index < count; index = next++) await this.#sendOne(targetOf(index));
    };
    try {
      await Promise.all(Array.from({ length: this.#connections }, sendSome));
    } finally {
      // After a failure, the other connections send no more requests.
      next = count;
    }
  }

  #sendOne({ url, headers, status }: Target): Promise<void> {
    return new Promise((resolve, reject) => {
      const request = http.get(url, { headers, agent: this.#agent }, (answer) => {
        if (answer.statusCode !== status) {
          reject(new Error(`"${url}" was answered ${answer.statusCode}; want ${status}`));
        }
        answer.resume().once("end", resolve);
      });
      request.once("error", reject);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
