// `make bench`: CPU per call of the gateway against nginx, latency added at a low rate, memory. README.md says how.
//   node tests/bench/run.mjs [--rounds 6] [--seconds 4] [--profile release] [--up .portcullis/up.json]
// Prints a table and writes target/bench/latest.json. Any refused, failed or missing call ends the run with an error.
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { inRoot, must, runToEnd, sleep } from "../peers/processes.mjs";
import { cpuMicros, median, memoryMib, processor } from "./machine.mjs";
import { LOAD_CORE, TOOL, startEcho, startGateway, startNginx } from "./sides.mjs";
import { latency } from "./latency.mjs";
import { openSession, request, verify } from "./requests.mjs";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "6" },
    seconds: { type: "string", default: "4" },
    profile: { type: "string", default: "release" },
    up: { type: "string" },
  },
});
const CONNECTIONS = 16;
/** Calls per side and row, below which a row does not count. */
const LEAST_CALLS = 200_000;
const out = inRoot("target/bench");

/** What is posted in each row. */
const ROWS = [
  { name: "300b", bytes: 300 },
  { name: "32k", bytes: 32 * 1024 },
  { name: "300b_session", bytes: 300, session: true },
];

/** One burst of load on one side; calls and CPU time per call. */
async function burst(side, echo, files, seconds) {
  const before = { calls: await echo.calls(), cpu: cpuMicros(side.pids) };
  const wrk = ["wrk", "-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, "-s", inRoot("tests/bench/post.lua"), side.url];
  const printed = await must("taskset", ["-c", String(LOAD_CORE), ...wrk, "--", files.headers, files.body]);
  const load = JSON.parse(printed.trim().split("\n").at(-1));
  await settled(side);
  const arrived = (await echo.calls()) - before.calls;
  if (load.errors > 0) throw new Error(`${side.name}: ${load.errors} failed calls\n${printed}`);
  // Calls under way when the load ended arrive without being counted; any other difference was refused on the way.
  if (arrived < load.requests || arrived > load.requests + 4 * CONNECTIONS) {
    throw new Error(`${side.name}: ${load.requests} calls were answered, ${arrived} reached the upstream`);
  }
  return {
    calls: load.requests,
    perSecond: load.requests / load.seconds,
    micros: (cpuMicros(side.pids) - before.cpu) / arrived,
    responseBytes: load.bytes / load.requests,
  };
}

/**
 * Waits until the side has no work left from its calls (audit upload), so that none of it escapes the measurement and none
 * of it is left for the next: nothing spooled but the segment being written, and idle, at most one tick in 250 ms, for a
 * second.
 */
async function settled(side) {
  let idle = 0;
  for (const deadline = Date.now() + 180_000; Date.now() < deadline; ) {
    const before = cpuMicros(side.pids);
    await sleep(250);
    const quiet = cpuMicros(side.pids) - before <= 10_000 && (await spooled(side)) <= SEGMENT;
    idle = quiet ? idle + 1 : 0;
    if (idle === 4) return;
  }
  throw new Error(`${side.name} is still busy three minutes after its calls`);
}

/** Bytes of a spool segment: one that is not full yet stays, stored or not. */
const SEGMENT = 9 * 1024 * 1024;

/** Bytes of audit records in the spool. */
async function spooled(side) {
  if (!side.adminUrl) return 0;
  const metrics = await (await fetch(`${side.adminUrl}/metrics`)).text();
  return Number(/^portcullis_audit_spool_bytes (\S+)/m.exec(metrics)?.[1] ?? Number.NaN);
}

async function measureRow(row, echo, nginx, gateway) {
  const files = {};
  for (const side of [nginx, gateway]) {
    const session = row.session ? await openSession(side) : undefined;
    files[side.name] = request(row, { side, tool: TOOL, session, key: gateway.key, folder: out });
    await verify(side, files[side.name]);
    await burst(side, echo, files[side.name], 1);
  }
  const samples = { nginx: [], gateway: [] };
  const calls = (name) => samples[name].reduce((sum, sample) => sum + sample.calls, 0);
  const rounds = Number(options.rounds);
  for (let round = 0; round < rounds || calls("nginx") < LEAST_CALLS || calls("gateway") < LEAST_CALLS; round++) {
    // A B A B: the machine drifts within a run, and a pair shares its conditions.
    for (const side of [nginx, gateway]) {
      const own = samples[side.name];
      own.push(await burst(side, echo, files[side.name], Number(options.seconds)));
      // Responses of another size are other responses: refused on the way back.
      const [first, last] = [own[0].responseBytes, own.at(-1).responseBytes];
      if (Math.abs(last - first) > 0.02 * first) throw new Error(`${side.name}: ${first}, then ${last} bytes a response`);
    }
    if (round > 4 * rounds) throw new Error(`${row.name}: fewer than ${LEAST_CALLS} calls after ${round} rounds`);
  }
  const ratios = samples.gateway.map((sample, round) => sample.micros / samples.nginx[round].micros);
  const of = (name, member) => median(samples[name].map((sample) => sample[member]));
  return {
    row: row.name,
    body_bytes: row.bytes,
    rounds: ratios.length,
    calls: { nginx: calls("nginx"), gateway: calls("gateway") },
    cpu_micros_per_call: { nginx: of("nginx", "micros"), gateway: of("gateway", "micros") },
    calls_per_second: { nginx: of("nginx", "perSecond"), gateway: of("gateway", "perSecond") },
    ratio: median(ratios),
    ratios,
  };
}

const round = (value, digits = 3) => Number(value.toFixed(digits));

function print(result, rows, delays) {
  const line = (...cells) => console.log(cells.map((cell, at) => String(cell).padEnd(at ? 13 : 18)).join(""));
  console.log(`\n${result.processor}; ${CONNECTIONS} connections; the proxy alone on core 0\n`);
  line("row", "nginx µs", "gateway µs", "× nginx", "nginx /s", "gateway /s", "calls each");
  for (const row of rows) {
    const [cpu, rate] = [row.cpu_micros_per_call, row.calls_per_second];
    const least = Math.min(row.calls.nginx, row.calls.gateway);
    const speeds = [round(rate.nginx, 0), round(rate.gateway, 0)];
    line(row.row, round(cpu.nginx, 1), round(cpu.gateway, 1), round(row.ratio), ...speeds, least);
  }
  console.log("");
  line(`${delays.rate} calls/s`, "p50 ms", "p99 ms", "added p50", "added p99");
  for (const [name, side] of Object.entries(delays.sides)) {
    line(name, side.p50_ms, side.p99_ms, side.added_p50_ms ?? "", side.added_p99_ms ?? "");
  }
  console.log(`\nmemory of the proxy: ${result.rss_idle_mib} MiB idle, ${result.rss_peak_mib} MiB at most\n`);
}

async function main() {
  if (availableParallelism() < 2) throw new Error("two cores are needed: one for the proxy, one for the load");
  mkdirSync(out, { recursive: true });
  const echo = await startEcho(out);
  const nginx = await startNginx(out, echo);
  const gateway = await startGateway(out, echo, options);
  await settled(gateway);
  const idle = memoryMib(gateway.pid).now;
  const rows = [];
  for (const row of ROWS) {
    rows.push(await measureRow(row, echo, nginx, gateway));
    // A run takes minutes; what is known is said at once.
    console.log(`${row.name}: ${round(rows.at(-1).ratio)} × nginx`);
  }
  const delays = await latency({ echo, nginx, gateway, row: ROWS[0], tool: TOOL, folder: out, core: LOAD_CORE });
  const ratio = (name) => round(rows.find((row) => row.row === name).ratio);
  const result = {
    ratio_cpu_vs_nginx_300b: ratio("300b"),
    ratio_cpu_vs_nginx_32k: ratio("32k"),
    ratio_cpu_vs_nginx_300b_session: ratio("300b_session"),
    added_p50_ms: delays.sides.gateway.added_p50_ms,
    added_p99_ms: delays.sides.gateway.added_p99_ms,
    rss_idle_mib: round(idle, 1),
    rss_peak_mib: round(memoryMib(gateway.pid).peak, 1),
    measured_at: new Date().toISOString(),
    processor: processor(),
    profile: options.profile,
    rows,
    latency: delays,
  };
  print(result, rows, delays);
  writeFileSync(`${out}/latest.json`, `${JSON.stringify(result, null, 2)}\n`);
  console.log("target/bench/latest.json");
  return true;
}

await runToEnd(main);
