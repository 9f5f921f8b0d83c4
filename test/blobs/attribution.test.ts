import { UnsecuredJWT } from "jose";
import { expect, test } from "vitest";
import { attributionOf, attributionParameters } from "../../src/blobs/attribution.ts";
import type { RepositoryName } from "../../src/oci/repository-name.ts";

const repository = "acme/app" as RepositoryName;
const access = (meta: unknown, name = "acme/app") => ({ type: "repository", name, actions: ["pull"], meta });
const tokenWith = (...entries: unknown[]) => new UnsecuredJWT({ access: entries }).encode();

test.each([
  ["no token", null],
  ["a token without `access`", new UnsecuredJWT({}).encode()],
  ["a token without a project", tokenWith(access(undefined))],
  ["a token with the project of another repository", tokenWith(access({ project_id: 7 }, "acme/other"))],
  ["a token with malformed ids", tokenWith(access({ project_id: "7&x=y", root_namespace_id: ["8"] }))],
])("with %s a URL is attributed to its repository only", (_, jwt) => {
  expect(attributionOf(repository, jwt)).toEqual({ repository });
});

test("with GitLab's token a URL is attributed to namespace and project too", () => {
  const jwt = tokenWith(access({ project_id: 1 }, "acme/other"), access({ project_id: 7, root_namespace_id: 8 }));
  expect(attributionOf(repository, jwt)).toEqual({ repository, namespaceId: "8", projectId: "7" });
});

test("the parameters of an attribution are sorted by name", () => {
  const parameters = attributionParameters({ sizeBytes: 9, repository, projectId: "7", namespaceId: "8" });
  expect(parameters.map((pair) => pair.join("="))).toEqual([
    "namespace-id=8",
    "project-id=7",
    "repository=acme/app",
    "size-bytes=9",
  ]);
});
