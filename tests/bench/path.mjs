// CPU per call of the gateway against nginx and Envoy, latency added at fixed rates, what refusals cost, memory.
import { median, memoryMib } from "./machine.mjs";
import { CONNECTIONS, burst, settled } from "./burst.mjs";
import { startEnvoy } from "./envoy.mjs";
import { LOAD_CORE, TOOL, startEcho, startGateway, startNginx } from "./sides.mjs";
import { latency } from "./latency.mjs";
import { refused } from "./refused.mjs";
import { openSession, request, verify } from "./requests.mjs";

/** Calls per side and row, below which a row does not count. */
const LEAST_CALLS = 200_000;

/** What is posted in each row. */
const ROWS = [
  { name: "300b", bytes: 300, beside: ["nginx", "envoy"] },
  { name: "32k", bytes: 32 * 1024, beside: ["nginx", "envoy"] },
  // As large as the gateway takes; a call moves so much that fewer are enough.
  { name: "1m", bytes: 1024 * 1024, beside: ["nginx", "envoy"], least: 5_000 },
  { name: "300b_session", bytes: 300, session: true, beside: ["nginx"] },
];

async function measureRow(row, { out, options, echo, gateway, peers }) {
  const sides = [...row.beside.map((name) => peers[name]), gateway];
  const files = {};
  for (const side of sides) {
    const session = row.session ? await openSession(side) : undefined;
    files[side.name] = request(row, { side, tool: TOOL, session, key: gateway.key, folder: out });
    await verify(side, files[side.name]);
    await burst(side, echo, files[side.name], 1);
  }
  const samples = Object.fromEntries(sides.map((side) => [side.name, []]));
  const calls = (name) => samples[name].reduce((sum, sample) => sum + sample.calls, 0);
  const rounds = Number(options.rounds);
  const least = Number(options.calls ?? row.least ?? LEAST_CALLS);
  const few = () => sides.some((side) => calls(side.name) < least);
  for (let round = 0; round < rounds || few(); round++) {
    // A B A B: the machine drifts within a run, and a round shares its conditions.
    for (const side of sides) {
      const own = samples[side.name];
      own.push(await burst(side, echo, files[side.name], Number(options.seconds)));
      // Responses of another size are other responses: refused on the way back.
      const [first, last] = [own[0].responseBytes, own.at(-1).responseBytes];
      if (Math.abs(last - first) > 0.02 * first) throw new Error(`${side.name}: ${first}, then ${last} bytes a response`);
    }
    if (round > 8 * rounds) throw new Error(`${row.name}: fewer than ${least} calls after ${round} rounds`);
  }
  const each = (member) => Object.fromEntries(sides.map(({ name }) => [name, median(samples[name].map((sample) => sample[member]))]));
  const ratios = Object.fromEntries(
    row.beside.map((name) => [name, samples.gateway.map((sample, round) => sample.micros / samples[name][round].micros)]),
  );
  return {
    row: row.name,
    body_bytes: row.bytes,
    rounds: samples.gateway.length,
    calls: Object.fromEntries(sides.map(({ name }) => [name, calls(name)])),
    cpu_micros_per_call: each("micros"),
    calls_per_second: each("perSecond"),
    ratio: Object.fromEntries(row.beside.map((name) => [name, median(ratios[name])])),
    ratios,
  };
}

const round = (value, digits = 3) => Number(value.toFixed(digits));

/** What a reader sees of it. */
export function print({ result, rows, latency: delays, refused: refusals }) {
  const line = (...cells) => console.log(cells.map((cell, at) => String(cell).padEnd(at ? 13 : 22)).join(""));
  console.log(`\n${CONNECTIONS} connections; the proxy alone on core 0\n`);
  line("row", "nginx µs", "Envoy µs", "gateway µs", "× nginx", "× Envoy", "gateway /s", "calls each");
  for (const row of rows) {
    const cpu = (name) => (row.cpu_micros_per_call[name] === undefined ? "" : round(row.cpu_micros_per_call[name], 1));
    const ratio = (name) => (row.ratio[name] === undefined ? "" : round(row.ratio[name]));
    const speed = round(row.calls_per_second.gateway, 0);
    line(row.row, cpu("nginx"), cpu("envoy"), cpu("gateway"), ratio("nginx"), ratio("envoy"), speed, Math.min(...Object.values(row.calls)));
  }
  console.log("");
  line("refused for", "µs", "÷ allowed");
  for (const row of refusals) line(row.code, round(row.micros, 1), round(row.ratio));
  for (const { rate, sides } of delays) {
    console.log("");
    line(`${rate} calls/s`, "p50 ms", "p99 ms", "added p50", "added p99");
    for (const [name, side] of Object.entries(sides)) line(name, side.p50_ms, side.p99_ms, side.added_p50_ms ?? "", side.added_p99_ms ?? "");
  }
  console.log(`\nmemory of the proxy: ${result.rss_idle_mib} MiB idle, ${result.rss_peak_mib} MiB at most\n`);
}

/** All of it: figures, and what is behind them. */
export async function path({ out, options }) {
  const echo = await startEcho(out);
  const nginx = await startNginx(out, echo);
  const gateway = await startGateway(out, echo, options);
  const envoy = await startEnvoy(out, echo, gateway.key);
  const peers = { nginx, envoy };
  await settled(gateway);
  const idle = memoryMib(gateway.pid).now;
  const rows = [];
  for (const row of ROWS) {
    rows.push(await measureRow(row, { out, options, echo, gateway, peers }));
    // A run takes minutes; what is known is said at once.
    console.log(`${row.name}: ${Object.entries(rows.at(-1).ratio).map(([name, ratio]) => `${round(ratio)} × ${name}`).join(", ")}`);
  }
  const delays = await latency({ sides: [echo, nginx, envoy, gateway], key: gateway.key, row: ROWS[0], tool: TOOL, folder: out, core: LOAD_CORE });
  const refusals = await refused({ out, options, echo, gateway });
  const ratio = (name, side = "nginx") => round(rows.find((row) => row.row === name).ratio[side]);
  const { added_p50_ms, added_p99_ms } = delays.find(({ rate }) => rate === 1_000).sides.gateway;
  const result = {
    ratio_cpu_vs_nginx_300b: ratio("300b"),
    ratio_cpu_vs_nginx_32k: ratio("32k"),
    ratio_cpu_vs_nginx_1m: ratio("1m"),
    ratio_cpu_vs_nginx_300b_session: ratio("300b_session"),
    ratio_cpu_vs_envoy_mcp_key_300b: ratio("300b", "envoy"),
    ratio_cpu_vs_envoy_mcp_key_32k: ratio("32k", "envoy"),
    ratio_cpu_refused_vs_allowed: round(Math.max(...refusals.map((row) => row.ratio))),
    added_p50_ms,
    added_p99_ms,
    rss_idle_mib: round(idle, 1),
    rss_peak_mib: round(memoryMib(gateway.pid).peak, 1),
  };
  return { result, rows, refused: refusals, latency: delays };
}
