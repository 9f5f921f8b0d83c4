/** What `npm start` prints: lines to paste. Pure. */
import type { PodKind, Stack } from "./types.ts";

export function welcome({ edge, control }: Pick<Stack, "edge" | "control">, pods: PodKind): string {
  const { host } = new URL(edge);
  return `
The edge is ${edge}, with two Pods (${pods}) behind it: pod-a owns acme/…, pod-b owns globex/….

Pull an image of pod-a that anyone may pull, log in, push it to pod-b, pull it back:

  docker pull ${host}/acme/hello:1
  echo demo | docker login -u demo --password-stdin ${host}
  docker tag ${host}/acme/hello:1 ${host}/globex/mine:1
  docker push ${host}/globex/mine:1
  docker pull ${host}/globex/mine:1

The same with skopeo:

  skopeo copy --src-tls-verify=false --dest-tls-verify=false --dest-creds demo:demo docker://${host}/acme/hello:1 docker://${host}/globex/mine:2
  skopeo inspect --tls-verify=false --creds demo:demo docker://${host}/globex/mine:2

Users: demo/demo (all rights on both Pods), reader/reader (pull). Anyone pulls acme/hello:1 and globex/hello:1.

Give another prefix to pod-b while all runs, and ask who owns it and whether all is well:

  npx wrangler kv key put --local --persist-to .local/state --binding DIRECTORY route/initech '{"v":1,"pod":"pod-b","revision":1,"state":"active"}'
  npm run podctl -- resolve initech/app
  npm run podctl -- doctor

From here to a third Pod, by podctl: docs/podctl.md

What the edge answered: ${control}/edge/-/seen   Addresses of everything: .local/stack.json   Ctrl-C ends all.
`;
}
