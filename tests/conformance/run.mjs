// The MCP conformance suite against an upstream of our own, directly and through the gateway.
//   node tests/conformance/run.mjs [--profile up] [--up .portcullis/up.json | --url ENDPOINT, key in MCP_KEY] [--direct]
// Without --up or --url it starts `portcullis up` for itself and sets a tenant up in it: a client that is granted the
// upstream's tools and prompts by name and its resources by URI, on an endpoint that is closed to everything else. Prints
// a row per scenario, then those for authorization servers, against the tenant's issuer; the last line is
// `conformance: direct A/B, gateway C/D, lost N, issuer E/F` (passed/failed checks over both sets). Fails when a check is lost,
// when the upstream itself scores below its baseline, or when the issuer fails.
import { mkdirSync } from "node:fs";
import { parseArgs } from "node:util";
import { gateway } from "../peers/gateway.mjs";
import { startServer } from "../peers/peers.mjs";
import { inRoot, runToEnd } from "../peers/processes.mjs";
import { provision } from "../peers/setup.mjs";
import { runAuthorization } from "./authorization.mjs";
import { credentialProxy } from "./credential_proxy.mjs";
import { SETS, lost, runSet, score } from "./suite.mjs";

/** What the upstream must score directly: passed checks; failed ones must be none. */
const BASELINE = { "2025-11-25": 84, "2026-07-28": 197 };

const { values: options } = parseArgs({
  options: {
    direct: { type: "boolean", default: false },
    profile: { type: "string", default: "up" },
    up: { type: "string" },
    url: { type: "string" },
  },
});
const out = inRoot("target/conformance");

/** Scenarios for authorization servers. */
const AUTHORIZATION = ["authorization-code-grant", "authorization-server-metadata-endpoint"];

/** What the client is granted of the upstream, beside its tools. One scenario reads a resource that does not exist. */
const GRANTED = {
  prompts: [
    "test_simple_prompt",
    "test_prompt_with_arguments",
    "test_prompt_with_embedded_resource",
    "test_prompt_with_image",
    "test_input_required_result_prompt",
  ],
  uris: ["test://*"],
  completion: true,
  tasks: true,
};

/** The endpoint with its key: a given one, or one made for this run. */
async function endpoint(upstream) {
  if (options.url) return { url: options.url, key: process.env.MCP_KEY };
  const up = await gateway({ up: options.up, profile: options.profile, dir: `${out}/run`, portBase: 7700 });
  const tenant = `conformance-${Date.now().toString(36)}`;
  const place = await provision(up, { tenant, servers: [{ slug: "suite", url: upstream, ...GRANTED }] });
  return { url: place.endpoints.suite, key: place.key, place };
}

async function runBoth() {
  mkdirSync(out, { recursive: true });
  const upstream = await startServer("rmcp", { logs: out, profile: options.profile });
  const direct = {};
  for (const set of SETS) direct[set] = await runSet(upstream, set, `${out}/direct/${set}`);
  if (options.direct) return { direct, through: null };

  const { url, key, place } = await endpoint(upstream);
  const proxy = await credentialProxy(url, key);
  const through = {};
  for (const set of SETS) through[set] = await runSet(proxy, set, `${out}/gateway/${set}`);
  const issuer = place && (await runAuthorization(place, `${out}/issuer`));
  return { direct, through, issuer };
}

/** A row per scenario for authorization servers; passed and failed checks. */
function reportIssuer(issuer, faults) {
  console.log(`\n${"authorization server".padEnd(48)} issuer`);
  const sum = { passed: 0, failed: 0 };
  for (const name of AUTHORIZATION) {
    const { passed, failed } = score(issuer.get(name));
    console.log(`${name.padEnd(48)} ${passed}/${failed}`);
    sum.passed += passed;
    sum.failed += failed;
    if (passed === 0 || failed > 0) faults.push(`the issuer fails ${name}; see ${out}/issuer`);
  }
  return `, issuer ${sum.passed}/${sum.failed}`;
}

function report({ direct, through, issuer }) {
  const sum = { direct: { passed: 0, failed: 0 }, gateway: { passed: 0, failed: 0 }, lost: 0 };
  const faults = [];
  const add = (to, { passed, failed }) => {
    to.passed += passed;
    to.failed += failed;
    return `${passed}/${failed}`;
  };
  for (const set of SETS) {
    console.log(`\n${set.padEnd(48)} direct  gateway`);
    const names = new Set([...direct[set].keys(), ...(through?.[set].keys() ?? [])]);
    const own = { passed: 0, failed: 0 };
    for (const name of [...names].sort()) {
      const [checks, behind] = [direct[set].get(name), through?.[set].get(name)];
      add(own, score(checks));
      const row = `${name.padEnd(48)} ${add(sum.direct, score(checks)).padEnd(7)}`;
      if (!through) {
        console.log(row);
        continue;
      }
      const gone = lost(checks, behind);
      sum.lost += gone.length;
      const behindScore = behind ? add(sum.gateway, score(behind)) : "not run";
      console.log(`${row} ${behindScore}${gone.length ? `  lost ${gone.length}` : ""}`);
      for (const check of gone) {
        const seen = behind?.find((other) => other.id === check.id && other.status !== "SUCCESS");
        console.log(`    ${check.id}: ${seen?.errorMessage ?? seen?.status ?? "the check was not made"}`);
      }
    }
    if (own.passed < BASELINE[set] || own.failed > 0) {
      const scored = `${own.passed}/${own.failed}`;
      faults.push(`${set}: the upstream scores ${scored} directly; its baseline is ${BASELINE[set]}/0`);
    }
  }
  const ofIssuer = issuer ? reportIssuer(issuer, faults) : "";
  for (const fault of faults) console.log(`\n${fault}`);
  const { direct: d, gateway: g } = sum;
  const behind = through ? `, gateway ${g.passed}/${g.failed}, lost ${sum.lost}` : "";
  console.log(`\nconformance: direct ${d.passed}/${d.failed}${behind}${ofIssuer}`);
  return faults.length === 0 && sum.lost === 0;
}

await runToEnd(async () => report(await runBoth()));
