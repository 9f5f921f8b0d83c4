import { expect, test } from "vitest";
import { RetryBudget } from "../../src/net/retry-budget.ts";

function retries(budget: RetryBudget, service: string, requests: number): number {
  let taken = 0;
  for (let request = 0; request < requests; request += 1) {
    budget.earn(service);
    if (budget.take(service)) taken += 1;
  }
  return taken;
}

test("a service gets a reserve of ten retries, and then one for each ten requests", () => {
  const budget = new RetryBudget();
  expect(retries(budget, "pod-a registry", 10)).toBe(10);
  expect(retries(budget, "pod-a registry", 10_000)).toBeLessThanOrEqual(1_001);
  expect(retries(budget, "pod-b registry", 10)).toBe(10);
});

test("a service that needed no retries for long has no more than its reserve", () => {
  const budget = new RetryBudget();
  for (let request = 0; request < 10_000; request += 1) budget.earn("pod-a token");
  expect(retries(budget, "pod-a token", 1_000)).toBeLessThanOrEqual(110);
});
