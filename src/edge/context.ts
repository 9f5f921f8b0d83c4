import type { Token } from "../auth/bundle.ts";
import type { Grant } from "../auth/grant.ts";
import type { Pod } from "../directory/directory.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import type { Services } from "../services.ts";
import type { Challenger } from "./refuse.ts";

/** A request on its way through the steps of `handle`. */
export type Context<E extends RegistryEndpoint> = {
  readonly request: Request;
  readonly endpoint: E;
  readonly challenger: Challenger;
  readonly services: Services;
  /** Null: this fleet asks for no tokens. */
  readonly token: Token | null;
};

/** Where a request may go, and with what. */
export type Authorized = { readonly pod: Pod; readonly grant: Grant };
