// Instructions and allocations of the proxy's worker for one call: the same on a busy machine as on an idle one, so that what
// makes calls dearer is seen when it comes.
//   node tests/bench/cost.mjs [--profile dev] [--accept]
// Fails when a figure is more than 3 % from that in cost.json, up or down; `--accept` writes it down instead.
import { Agent, request as send } from "node:http";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { inRoot, must, runToEnd, sleep } from "../peers/processes.mjs";
import { provision } from "../peers/setup.mjs";
import { callgrind, count, instructions, sinceLast } from "./callgrind.mjs";
import { startPlanes } from "./planes.mjs";
import { asText, request } from "./requests.mjs";
import { TOOL, proxySide, startEcho } from "./sides.mjs";

const PORT_BASE = 8600;
/** Calls of the two counts whose difference is taken, so that what happens once is in neither. */
const FEW = 50;
const MANY = 250;
/** A figure may be so far from the accepted one. */
const TOLERANCE = 0.03;
/** Only a worker executes these. */
const OF_A_WORKER = /pipeline.*enforce/;

const ROWS = [
  { name: "call_300b", bytes: 300, tool: TOOL, says: '"result"' },
  { name: "call_32k", bytes: 32 * 1024, tool: TOOL, says: '"result"' },
  { name: "refused_300b", bytes: 300, tool: "tool_99", says: "tool_not_granted" },
];

/** Figures of each row, by a proxy that is alone with one connection. */
export async function cost({ out, profile }) {
  const echo = await startEcho(out, profile);
  const { up, planes } = await startPlanes({ profile, dir: `${out}/cost`, portBase: PORT_BASE, proxies: 1 });
  const servers = [{ slug: "echo", url: echo.url }];
  const made = await provision(up, { tenant: `cost-${Date.now().toString(36)}`, servers, roles: 4 });
  const former = planes["proxy-0"];
  await former.end("SIGTERM");
  const folder = `${out}/callgrind`;
  const options = { "--join-token-file": null };
  const proxy = await former.like("proxy-0", options, { REDIS_URL: null, PORTCULLIS_WORKERS: "1" }).under(...callgrind(folder)).start(250);
  const side = proxySide("cost", proxy, made.endpoints.echo);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  await count(proxy.pid);
  const rows = {};
  for (const row of ROWS) {
    const call = caller(side, agent, asText(request(row, { side, tool: row.tool, key: made.key, folder: out })), row.says);
    const calls = async (number) => {
      for (let at = 0; at < number; at++) await call();
      const counted = await sinceLast(proxy.pid, folder, OF_A_WORKER);
      return { instructions: instructions(counted), allocations: counted.allocations };
    };
    // Warm: what is made at the first call is there.
    await calls(FEW);
    const [few, many] = [await calls(FEW), await calls(MANY)];
    const each = (member) => (many[member] - few[member]) / (MANY - FEW);
    rows[row.name] = { instructions: Math.round(each("instructions")), allocations: Number(each("allocations").toFixed(1)) };
  }
  agent.destroy();
  await proxy.end("SIGTERM");
  return rows;
}

/** Makes one call after another on one connection. */
function caller(side, agent, text, says) {
  const [head, body] = text.split("\n\n");
  const headers = Object.fromEntries(head.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
  headers["content-length"] = Buffer.byteLength(body);
  return () =>
    new Promise((resolve, reject) => {
      const sent = send(side.url, { method: "POST", agent, headers }, async (response) => {
        let answer = "";
        for await (const chunk of response) answer += chunk;
        if (answer.includes(says)) resolve();
        else reject(new Error(`${response.statusCode} ${answer}`));
      });
      sent.on("error", reject).end(body);
    });
}

/** What is further from the accepted figures than it may be. */
function strayed(rows, accepted) {
  const found = [];
  for (const [row, figures] of Object.entries(rows)) {
    for (const [member, value] of Object.entries(figures)) {
      const former = accepted[row]?.[member];
      if (former === undefined) found.push(`${row}: ${member} ${value}, and none is accepted`);
      else if (Math.abs(value / former - 1) > TOLERANCE) {
        found.push(`${row}: ${value} ${member} a call, ${((value / former - 1) * 100).toFixed(1)} % from the accepted ${former}`);
      }
    }
  }
  return found;
}

async function main() {
  const { values } = parseArgs({ options: { profile: { type: "string", default: "dev" }, accept: { type: "boolean" } } });
  const out = inRoot("target/bench");
  mkdirSync(out, { recursive: true });
  const file = inRoot("tests/bench/cost.json");
  const compiler = (await must("rustc", ["--version"])).trim();
  const about = { profile: values.profile, architecture: process.arch, compiler };
  const rows = await cost({ out, profile: values.profile });
  console.log(JSON.stringify(rows, null, 2));
  if (values.accept) {
    writeFileSync(file, `${JSON.stringify({ ...about, rows }, null, 2)}\n`);
    return true;
  }
  const accepted = JSON.parse(readFileSync(file, "utf8"));
  for (const member of ["profile", "architecture"]) {
    if (accepted[member] === about[member]) continue;
    console.log(`not compared: the accepted figures are of ${member} ${accepted[member]}, these of ${about[member]}`);
    return true;
  }
  const found = strayed(rows, accepted.rows);
  if (found.length === 0) return true;
  console.error(`${found.join("\n")}
The accepted figures are in tests/bench/cost.json (${accepted.compiler}; this is ${compiler}).
If the change is meant to cost that much, or to save it: \`make cost ARGS=--accept\`, and commit the file with the change.`);
  return false;
}

if (import.meta.filename === process.argv[1]) await runToEnd(main);
