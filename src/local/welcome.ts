import type { PodKind } from "./pods/start-pods.ts";
import type { RunningStack } from "./stack-files.ts";

/** Returns what `npm start` prints. Its indented lines are for users to paste. */
export function welcome({ edge, control }: Pick<RunningStack, "edge" | "control">, pods: PodKind): string {
  const { host } = new URL(edge);
  return `
The edge is ${edge}. Behind it are two Pods (${pods}): pod-a owns acme/…, and pod-b owns globex/….

Pull an image of pod-a that anyone may pull, log in, push it to pod-b, and pull it back:

  docker pull ${host}/acme/hello:1
  echo demo | docker login -u demo --password-stdin ${host}
  docker tag ${host}/acme/hello:1 ${host}/globex/mine:1
  docker push ${host}/globex/mine:1
  docker pull ${host}/globex/mine:1

The same with skopeo:

  skopeo copy --src-tls-verify=false --dest-tls-verify=false --dest-creds demo:demo docker://${host}/acme/hello:1 docker://${host}/globex/mine:2
  skopeo inspect --tls-verify=false --creds demo:demo docker://${host}/globex/mine:2

The users are demo/demo (all rights on both Pods) and reader/reader (pull). Anyone may pull acme/hello:1 and globex/hello:1.

Assign another prefix to pod-b while the stack runs, then ask which Pod owns it and whether anything is wrong:

  npx wrangler kv key put --local --persist-to .local/state --binding DIRECTORY route/initech '{"v":1,"pod":"pod-b","revision":1,"state":"active"}'
  npm run podctl -- resolve initech/app
  npm run podctl -- doctor

docs/podctl.md shows how to add a third Pod.

${control}/edge/-/seen lists what the edge has answered. All addresses are in .local/stack.json. Ctrl-C stops everything.
`;
}
