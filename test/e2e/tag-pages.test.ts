import { afterAll, beforeAll, expect, it } from "vitest";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import { createClient } from "../support/client.ts";
import { openStage, type Stage } from "./stage.ts";
import { expectPodsApart } from "./taps.ts";
import { describeWith, needs } from "./tools.ts";

const tags = ["1", "a", "b", "c", "d"];

// docker-registry 2.8 gives all tags at once, whatever page size is asked for.
describeWith(needs.registryPods, "pages of tags of docker-registry Pods", () => scenario("registry", [5]));
describeWith(needs.distributionPods, "pages of tags of distribution v3 Pods", () =>
  scenario("distribution-v3", [2, 2, 1]),
);

function scenario(pods: PodKind, pageSizes: readonly number[]): void {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage(pods);
  });
  afterAll(() => stage?.close());

  it("they are the Pod's own, and each links to the next one on the edge", async () => {
    const client = createClient(stage.stack.edge);
    const token = await client.token(["repository:acme/private:pull,push"]);
    const image = await client.get("/v2/acme/private/manifests/1", token);
    const headers = { "Content-Type": image.headers.get("Content-Type") ?? "" };
    const body = await image.text();
    for (const tag of tags.slice(1)) {
      const put = await client.get(`/v2/acme/private/manifests/${tag}`, token, { method: "PUT", headers, body });
      expect(put.status).toBe(201);
    }
    const pages: string[][] = [];
    for (let path: string | undefined = "/v2/acme/private/tags/list?n=2"; path !== undefined; ) {
      const answer: Response = await client.get(path, token);
      pages.push(((await answer.json()) as { tags: string[] }).tags);
      path = /^<(\/v2\/[^>]+)>; rel="next"$/.exec(answer.headers.get("Link") ?? "")?.[1];
    }
    expect(pages.flat().toSorted()).toEqual(tags);
    expect(pages.map((page) => page.length)).toEqual(pageSizes);
    await expectPodsApart(stage.stack);
  });
}
