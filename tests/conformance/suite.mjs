// Runs the MCP conformance suite's server scenarios against a URL and reads what it wrote.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { node } from "../peers/peers.mjs";
import { inRoot, run } from "../peers/processes.mjs";

export const suite = inRoot("target/peers/npm/node_modules/@modelcontextprotocol/conformance/dist/index.js");

/** The frozen sets that are run: a revision's required scenarios, and those that are run without being scored. */
export const SETS = ["2025-11-25", "2026-07-28"];

/** Runs one set; the checks of each scenario, by scenario: `Map<name, [{id, name, status, …}]>`. */
export async function runSet(url, revision, folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const args = [suite, "server", "--url", url, "--requirements", revision, "-o", folder];
  const ended = await run(node, args, { timeout: 300_000 });
  const scenarios = new Map();
  for (const entry of readdirSync(folder)) {
    const name = /^server-(.*)-\d{4}-\d{2}-\d{2}T/.exec(entry)?.[1];
    const file = `${folder}/${entry}/checks.json`;
    // A scenario that broke off made no checks: none that count, and so all that it should have made are lost.
    if (name) scenarios.set(name, existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : []);
  }
  if (scenarios.size === 0) throw new Error(`the suite ran nothing:\n${ended.stdout}${ended.stderr}`);
  return scenarios;
}

const withStatus = (checks, status) => checks.filter((check) => check.status === status);

/** Passed and failed checks, as the suite counts them. */
export function score(checks = []) {
  return { passed: withStatus(checks, "SUCCESS").length, failed: withStatus(checks, "FAILURE").length };
}

/** Checks that passed in `direct` and not in `through`: failed, turned into a warning, or not made at all. */
export function lost(direct = [], through = []) {
  const same = (check) => `${check.id}|${check.name}|${check.description}`;
  const left = withStatus(through, "SUCCESS").map(same);
  return withStatus(direct, "SUCCESS").filter((check) => {
    const at = left.indexOf(same(check));
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}
