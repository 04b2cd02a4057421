// The suite's scenarios for authorization servers, against a tenant's issuer: a person signs in, agrees, and is sent back.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { node } from "../peers/peers.mjs";
import { browse } from "../peers/person.mjs";
import { freePort } from "../peers/processes.mjs";
import { application, personIdentities } from "../peers/setup.mjs";
import { suite } from "./suite.mjs";

/** A sign-in takes seconds; the suite itself waits five minutes. */
const PATIENCE = 120_000;

/** Runs them against the issuer of a `place`; the checks of each scenario, as `runSet` has them. */
export async function runAuthorization(place, folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const { issuer, endpoints } = place;
  const port = await freePort();
  const redirect = `http://127.0.0.1:${port}/callback`;
  const { known } = await personIdentities(place);
  const person = { ...JSON.parse(known.environment.MCP_PERSON), redirect_uri: redirect };
  const client = await application(place, redirect);

  const [resource] = Object.values(endpoints);
  const args = ["--url", issuer, "--client-id", client, "--resource", resource, "-p", String(port), "-o", folder];
  const child = spawn(node, [suite, "authorization", ...args], { timeout: PATIENCE });
  const [opened, back] = [new Set(), []];
  let printed = "";
  const take = (chunk) => {
    printed += chunk;
    // What follows a URL has come as well, so that it is whole.
    for (const [url] of printed.matchAll(/https?:\/\/\S+\/authorize\?\S+(?=\s)/g)) {
      if (opened.has(url)) continue;
      opened.add(url);
      // The suite starts to listen just after it has said where.
      back.push(browse(url, person).then((callback) => fetch(callback)));
    }
  };
  child.stdout.setEncoding("utf8").on("data", take);
  child.stderr.setEncoding("utf8").on("data", take);
  await new Promise((resolve) => child.on("close", resolve));
  await Promise.all(back);
  const scenarios = new Map();
  for (const entry of readdirSync(folder)) {
    const name = /^authorization-server-(.*)-\d{4}-\d{2}-\d{2}T/.exec(entry)?.[1];
    const file = `${folder}/${entry}/checks.json`;
    if (name) scenarios.set(name, existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : []);
  }
  if (scenarios.size === 0) throw new Error(`the suite ran nothing:\n${printed}`);
  return scenarios;
}
