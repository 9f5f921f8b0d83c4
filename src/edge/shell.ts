import { isRead } from "../oci/scope.ts";

const welcome = "This is a container registry. Use it with docker, podman or any other OCI client.\n";

/** Answers what is not registry traffic. Null if there is nothing at this path. */
export function answerShell({ method }: Request, { pathname }: URL, now: Date): Response | null {
  // podctl compares its clock with the edge's by this date.
  if (pathname === "/-/health" && isRead(method))
    return Response.json({ status: "ok" }, { headers: { Date: now.toUTCString() } });
  if (pathname === "/" && isRead(method)) return new Response(welcome);
  // Registries redirect `/v2` (distribution's router), because the base of the API ends in a slash.
  if (pathname === "/v2") return new Response(null, { status: 301, headers: { Location: "/v2/" } });
  return null;
}
