// CPU per call of the gateway against nginx, latency added at a low rate, memory.
import { median, memoryMib } from "./machine.mjs";
import { CONNECTIONS, burst, settled } from "./burst.mjs";
import { LOAD_CORE, TOOL, startEcho, startGateway, startNginx } from "./sides.mjs";
import { latency } from "./latency.mjs";
import { openSession, request, verify } from "./requests.mjs";

/** Calls per side and row, below which a row does not count. */
const LEAST_CALLS = 200_000;

/** What is posted in each row. */
const ROWS = [
  { name: "300b", bytes: 300 },
  { name: "32k", bytes: 32 * 1024 },
  { name: "300b_session", bytes: 300, session: true },
];

async function measureRow(row, { out, options, echo, nginx, gateway }) {
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

/** What a reader sees of it. */
export function print({ result, rows, latency: delays }) {
  const line = (...cells) => console.log(cells.map((cell, at) => String(cell).padEnd(at ? 13 : 18)).join(""));
  console.log(`\n${CONNECTIONS} connections; the proxy alone on core 0\n`);
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

/** All of it: figures, and what is behind them. */
export async function path({ out, options }) {
  const echo = await startEcho(out);
  const nginx = await startNginx(out, echo);
  const gateway = await startGateway(out, echo, options);
  await settled(gateway);
  const idle = memoryMib(gateway.pid).now;
  const rows = [];
  for (const row of ROWS) {
    rows.push(await measureRow(row, { out, options, echo, nginx, gateway }));
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
  };
  return { result, rows, latency: delays };
}
