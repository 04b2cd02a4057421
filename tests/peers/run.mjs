// Official SDK clients against official SDK servers, through the gateway or (`--direct`) without it.
//   node tests/peers/run.mjs [--direct] [--profile up] [--up .portcullis/up.json] [--client NAME] [--server NAME] [--identity NAME]
// A row passes when the granted tool answers and, through the gateway, when the list shows the granted tool alone and
// the refusal of another shows its caller slug and remedy. Every pair has its turn with an API key; with each other
// identity one server is enough, because servers never see it. Prints a table and ends with `N passed, N failed`.
import { parseArgs } from "node:util";
import { gateway } from "./gateway.mjs";
import { callWith, clients, servers, startServer } from "./peers.mjs";
import { inRoot, runToEnd } from "./processes.mjs";
import { machineIdentities, personIdentities, provision } from "./setup.mjs";

const { values: options } = parseArgs({
  options: {
    direct: { type: "boolean", default: false },
    profile: { type: "string", default: "up" },
    up: { type: "string" },
    client: { type: "string" },
    server: { type: "string" },
    identity: { type: "string" },
  },
});
const REFUSAL = "tool_not_granted";
/** Which server the identities other than the key have their turn at: it speaks every era. */
const ONE_SERVER = "rmcp";
const chosen = (all, one) => Object.keys(all).filter((name) => !one || name === one);

/** Why the row fails; empty when it passes. */
function faults(server, mode, answer) {
  if (answer.failed) return [answer.failed];
  const found = [];
  const { granted, answer: expected, withheld } = servers[server];
  const era = answer.protocol >= "2026-07-28" ? "modern" : "legacy";
  if (mode !== "auto" && era !== mode) found.push(`spoke ${answer.protocol}`);
  if (answer.call.is_error || !expected.test(answer.call.text)) found.push(`answered ${JSON.stringify(answer.call)}`);
  if (!answer.tools.includes(granted)) found.push(`${granted} is not listed`);
  if (options.direct) return found;
  if (answer.tools.length !== 1) found.push(`lists ${answer.tools.join(", ")}`);
  const { kind, slug, remedy, shown } = answer.refused;
  if (kind !== "error") found.push(`${withheld} was not refused: ${shown}`);
  else if (slug !== REFUSAL) found.push(`refused as ${slug}: ${shown}`);
  else if (!remedy) found.push(`refused without a remedy: ${shown}`);
  return found;
}

/** Who calls what, how, and as whom. */
function* rows(started, identities) {
  for (const identity of identities) {
    for (const client of chosen(clients, options.client)) {
      for (const server of started.filter((name) => ["key", "none"].includes(identity) || name === ONE_SERVER)) {
        // A client pinned to 2026-07-28 has nothing to say to a server of the older era.
        const modes = clients[client].modes.filter((mode) => mode === "auto" || servers[server].eras.includes(mode));
        for (const mode of modes) yield { client, server, mode, identity };
      }
    }
  }
}

async function main() {
  const logs = inRoot("target/peers/logs");
  const urls = {};
  for (const name of chosen(servers, options.server)) {
    urls[name] = await startServer(name, { logs, profile: options.profile });
  }
  let endpoints = urls;
  let identities = { none: {} };
  if (!options.direct) {
    const dir = inRoot("target/peers/run");
    const up = await gateway({ up: options.up, profile: options.profile, dir, portBase: 7600 });
    const wanted = Object.entries(urls).map(([slug, url]) => ({ slug, url, tools: [servers[slug].granted] }));
    const tenant = `peers-${Date.now().toString(36)}`;
    const place = await provision(up, { tenant, servers: wanted });
    ({ endpoints } = place);
    identities = { ...(await machineIdentities(place)), ...(await personIdentities(place)) };
  }
  const count = { passed: 0, failed: 0 };
  for (const row of rows(Object.keys(urls), chosen(identities, options.identity))) {
    const { client, server, mode, identity } = row;
    const { call, withheld } = servers[server];
    const answer = await callWith(client, mode, {
      url: endpoints[server],
      identity: identities[identity],
      call,
      withheld: options.direct ? undefined : withheld,
      profile: options.profile,
    });
    const found = faults(server, mode, answer);
    count[found.length ? "failed" : "passed"] += 1;
    const refused = answer.refused ? `  ${answer.refused.code} ${answer.refused.slug}` : "";
    const cells = [client.padEnd(13), mode.padEnd(7), server.padEnd(11), identity.padEnd(9), (answer.protocol ?? "-").padEnd(11)];
    console.log(`${found.length ? "FAIL" : "ok  "} ${cells.join(" ")}${refused}`);
    for (const fault of found) console.log(`     ${fault}`);
  }
  console.log(`\n${count.passed} passed, ${count.failed} failed`);
  return count.passed > 0 && count.failed === 0;
}

await runToEnd(main);
