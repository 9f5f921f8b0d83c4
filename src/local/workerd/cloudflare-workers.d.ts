/** Declares what workerd provides to `kv-worker.ts`, because that Worker is checked with Node's types. */
declare module "cloudflare:workers" {
  export abstract class WorkerEntrypoint<Env> {
    protected readonly env: Env;
  }
}
