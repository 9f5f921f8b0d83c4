/** What `npm start` prints: lines to paste. Pure. */
import type { PodKind, Stack } from "./types.ts";

export function welcome({ edge, control }: Pick<Stack, "edge" | "control">, pods: PodKind): string {
  const { host } = new URL(edge);
  return `
The edge is ${edge}, with two Pods (${pods}) behind it: pod-a owns acme/…, pod-b owns globex/….

Pull an image that anyone may pull, log in, push a copy, pull it back:

  docker pull ${host}/acme/hello:1
  echo demo | docker login -u demo --password-stdin ${host}
  docker tag ${host}/acme/hello:1 ${host}/acme/mine:1
  docker push ${host}/acme/mine:1
  docker pull ${host}/globex/private:1

The same with skopeo:

  skopeo copy --src-tls-verify=false --dest-tls-verify=false --src-creds demo:demo --dest-creds demo:demo docker://${host}/acme/hello:1 docker://${host}/acme/mine:1
  skopeo inspect --tls-verify=false --creds demo:demo docker://${host}/acme/mine:1
  skopeo copy --src-tls-verify=false docker://${host}/globex/hello:1 dir:hello

Users: demo/demo (all rights on both Pods), reader/reader (pull). Anyone pulls acme/hello:1 and globex/hello:1.

Give another prefix to pod-b while all runs:

  npx wrangler kv key put --local --persist-to .local/state --binding DIRECTORY route/initech '{"v":1,"pod":"pod-b","revision":1,"state":"active"}'

What the edge answered: ${control}/edge/-/seen   Addresses of everything: .local/stack.json   Ctrl-C ends all.
`;
}
