// `make test-hostile`: attacks on a real proxy while good clients call it, and what its TLS offers.
//   node tests/hostile/run.mjs [--profile up] [--only NAME] [--rounds 3] [--seconds 8]
// Everything stays on 127.0.0.1. Prints a table and writes target/hostile/latest.json; fails when a promise below is broken.
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { inRoot, must, run, runToEnd, sleep } from "../peers/processes.mjs";
import { provision } from "../peers/setup.mjs";
import { certificates, showing } from "../bench/certificates.mjs";
import { load } from "../bench/latency.mjs";
import { median, memoryMib, peakFromNow, pin, processor, tree } from "../bench/machine.mjs";
import { startPlanes } from "../bench/planes.mjs";
import { request } from "../bench/requests.mjs";
import { LOAD_CORE, PROXY_CORE, TOOL, proxySide, startEcho } from "../bench/sides.mjs";
import { tlsPolicy } from "./tls.mjs";

const PORT_BASE = 8700;
/** Calls a second of the good clients. */
const RATE = 200;
const GOOD_SECONDS = 5;
/** Where they come from: what attackers use up of what is counted by address is theirs alone. */
const GOOD = "127.0.9.1";
/** What the good clients' p99 may become during an attack, and after it, as a multiple of what it was before. */
const DURING = 2;
const AFTER = 1.5;
/** How much more memory the proxy may take at any moment of an attack, in MiB. */
const MEMORY = 128;

const slowhttptest = (...kind) => ({ of: "slowhttptest", kind });
/** One of attack.mjs, unless it says otherwise. `least` of what has to have been done, so that a run shows something. */
const ATTACKS = {
  slow_heads: slowhttptest("-H", "-i", "2"),
  slow_bodies: slowhttptest("-B", "-i", "2", "-s", "8192"),
  slow_readers: slowhttptest("-X", "-w", "1", "-y", "2", "-n", "1", "-z", "1", "-k", "3"),
  connections: { least: { connections: 1_000 } },
  garbage: { least: { ended: 100 } },
  handshakes: { least: { connections: 200 } },
  rapid_reset: { least: { ended: 10, frames: 1_000 } },
  made_you_reset: { least: { ended: 10, frames: 1_000 } },
  continuation: { least: { ended: 10, frames: 1_000 } },
  settings: { least: { frames: 10_000 } },
  pings: { least: { frames: 10_000 } },
  empty_frames: { least: { frames: 1_000 } },
  streams: { least: { frames: 10_000 } },
  no_window: { least: { frames: 1_000 } },
};

const { values: options } = parseArgs({
  options: {
    profile: { type: "string", default: "up" },
    only: { type: "string" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "8" },
  },
});
const out = inRoot("target/hostile");
const seconds = Number(options.seconds);
const round = (value) => Number(value.toFixed(2));

/** Attacks run at the lowest priority of the second core: what slows the good clients is then the proxy, not the attacker. */
const aside = (...words) => ["-c", String(LOAD_CORE), "nice", "-n", "19", ...words];

/** Runs one attack to its end; what it did. */
async function attack(name, side) {
  const path = new URL(side.url).pathname;
  const { of, kind } = ATTACKS[name];
  if (of === "slowhttptest") {
    const many = ["-c", "800", "-r", "400", "-l", String(seconds), "-p", "3", "-t", "POST"];
    const ended = await run("taskset", aside("slowhttptest", ...kind, ...many, "-u", side.url));
    // It writes for a terminal.
    const said = ended.stdout.replaceAll(/\u001b\[[0-9;]*[A-Za-z]/g, "");
    const count = (word) => Math.max(0, ...[...said.matchAll(new RegExp(`${word}:\\s*(\\d+)`, "g"))].map((found) => Number(found[1])));
    return { connections: count("connected") + count("closed"), ended: count("closed"), frames: 0 };
  }
  const program = inRoot("tests/hostile/attack.mjs");
  const words = [process.execPath, program, name, String(side.port), path, String(seconds)];
  return JSON.parse(await must("taskset", aside(...words), { timeout: (seconds + 60) * 1_000 }));
}

/** Rounds of an attack, each between two looks at the good clients. */
async function withstand(name, side, files) {
  const good = () => load(side, files, { core: LOAD_CORE, rate: RATE, seconds: GOOD_SECONDS, ca: side.ca, from: GOOD, profile: options.profile });
  const rounds = [];
  for (let at = 0; at < Number(options.rounds); at++) {
    const before = await good();
    const rest = memoryMib(side.pid).now;
    peakFromNow(side.pid);
    const attacking = attack(name, side);
    await sleep(1_500);
    const during = await good();
    const done = await attacking;
    const grown = memoryMib(side.pid).peak - rest;
    await sleep(1_000);
    const after = await good();
    rounds.push({ before: before.p99_ms, during: during.p99_ms, after: after.p99_ms, grown_mib: round(grown), done });
    for (const [member, least] of Object.entries(ATTACKS[name].least ?? { connections: 100 })) {
      if (done[member] < least) throw new Error(`${name}: ${member} is ${done[member]}, so that nothing is shown: ${JSON.stringify(done)}`);
    }
  }
  const ratio = (member) => round(median(rounds.map((each) => each[member] / each.before)));
  return { name, ratio_during: ratio("during"), ratio_after: ratio("after"), grown_mib: Math.max(...rounds.map((each) => each.grown_mib)), rounds };
}

async function main() {
  mkdirSync(out, { recursive: true });
  const files = await certificates(`${out}/certificates`);
  const echo = await startEcho(out, options.profile);
  const { up, planes } = await startPlanes({ profile: options.profile, dir: `${out}/run`, portBase: PORT_BASE, proxies: 1 });
  const made = await provision(up, { tenant: `hostile-${Date.now().toString(36)}`, servers: [{ slug: "echo", url: echo.url }], roles: 4 });
  for (const name of ["postgres", "redis", "control"]) await pin(tree(planes[name].pid), LOAD_CORE);
  const former = planes["proxy-0"];
  const restarted = async (more) => {
    await former.end("SIGTERM");
    const proxy = await former.like("proxy-0", { "--join-token-file": null, ...showing(files), ...more }, { REDIS_URL: null, PORTCULLIS_WORKERS: "1" }).start();
    await pin([proxy.pid], PROXY_CORE);
    return proxy;
  };
  const proxy = await restarted({});
  const plain = proxySide("proxy", proxy, made.endpoints.echo);
  const side = { ...plain, url: plain.url.replace("http:", "https:"), ca: files.ca };
  const calls = request({ name: "hostile", bytes: 300 }, { side, tool: TOOL, key: made.key, folder: out });
  const broken = [];
  const found = { profile: options.profile, processor: processor(), measured_at: new Date().toISOString(), seconds, attacks: [] };
  for (const name of Object.keys(ATTACKS)) {
    if (options.only && options.only !== name) continue;
    const row = await withstand(name, side, calls);
    found.attacks.push(row);
    console.log(`${name.padEnd(16)} p99 × ${row.ratio_during} during, × ${row.ratio_after} after; ${row.grown_mib} MiB more; ${JSON.stringify(row.rounds.at(-1).done)}`);
    if (row.ratio_during > DURING) broken.push(`${name}: p99 of good clients × ${row.ratio_during}`);
    if (row.ratio_after > AFTER) broken.push(`${name}: p99 of good clients × ${row.ratio_after} afterwards`);
    if (row.grown_mib > MEMORY) broken.push(`${name}: ${row.grown_mib} MiB more memory`);
  }
  if (!options.only || options.only === "tls") {
    found.tls = { "1.3": await tlsPolicy(side.port, "1.3", out) };
    await proxy.end("SIGTERM");
    const lower = await restarted({ "--tls-min-version": "1.2" });
    found.tls["1.2"] = await tlsPolicy(side.port, "1.2", out);
    await lower.end("SIGTERM");
    for (const [floor, { weaker }] of Object.entries(found.tls)) broken.push(...weaker.map((what) => `TLS, floor ${floor}: ${what}`));
  }
  writeFileSync(`${out}/latest.json`, `${JSON.stringify({ ...found, broken }, null, 2)}\n`);
  console.log("target/hostile/latest.json");
  for (const what of broken) console.error(what);
  return broken.length === 0;
}

await runToEnd(main);
