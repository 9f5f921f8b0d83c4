/** What workerd itself provides to the local stack's own Worker, which is checked with Node's types. */
declare module "cloudflare:workers" {
  export abstract class WorkerEntrypoint<Env> {
    protected readonly env: Env;
  }
}
