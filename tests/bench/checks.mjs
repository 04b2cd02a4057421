// How long each check takes, as the proxy itself measures it, beside what it may take at most.
import { burst, settled } from "./burst.mjs";
import { pin, tree } from "./machine.mjs";
import { startPlanes } from "./planes.mjs";
import { request, verify } from "./requests.mjs";
import { LOAD_CORE, PROXY_CORE, STRICT, TOOL, proxySide, startEcho } from "./sides.mjs";
import { provision } from "../peers/setup.mjs";

const PORT_BASE = 8500;
const SECONDS = 5;
/** Samples of a check, below which its row does not count. */
const LEAST_SAMPLES = 20_000;
const TIMED = { PORTCULLIS_LOG: "info,portcullis::checks=debug", PORTCULLIS_WORKERS: "1" };
/** Most that a check may add, p99, in ms: requirements.md, "Latency added". */
const BARS = { edge: 0.01, body: 0.01, network: 0.01, address_limit: 0.02, authenticate: 0.1, limit: 0.02, authorize: 0.05, all: 1 };
const REDIS_BARS = { limit: 0.5 };

/** Buckets of each check: how many observations were not above a bound, in seconds; lowest first. */
async function histograms(side) {
  const text = await (await fetch(`${side.adminUrl}/metrics`)).text();
  const found = {};
  for (const [, check, bound, count] of text.matchAll(/^portcullis_check_seconds_bucket\{check="(\w+)",le="([^"]+)"\} (\d+)/gm)) {
    (found[check] ??= []).push({ bound: bound === "+Inf" ? Infinity : Number(bound), count: Number(count) });
  }
  if (!found.all) throw new Error("the proxy does not time its checks");
  return found;
}

/** The lowest bound that `share` of what came between the two is not above, in ms: the figure is that or less. */
function atMost(before, after, share) {
  const counts = after.map(({ bound, count }, at) => ({ bound, count: count - (before?.[at].count ?? 0) }));
  const all = counts.at(-1).count;
  return counts.find(({ count }) => count >= all * share).bound * 1_000;
}

/** Times checks while the side is called as fast as it can be. */
async function measure(side, echo, made, folder, bars) {
  const files = request({ name: `checks_${side.name}`, bytes: 300 }, { side, tool: TOOL, key: made.key, folder });
  await verify(side, files);
  await burst(side, echo, files, 1);
  await settled(side);
  const before = await histograms(side);
  await burst(side, echo, files, SECONDS);
  const after = await histograms(side);
  return Object.entries(after).map(([check, buckets]) => {
    const samples = buckets.at(-1).count - (before[check]?.at(-1).count ?? 0);
    if (samples < LEAST_SAMPLES) throw new Error(`${side.name}: only ${samples} samples of ${check}`);
    const at = (share) => Number(atMost(before[check], buckets, share).toFixed(5));
    return { check, samples, p50_ms: at(0.5), p99_ms: at(0.99), bar_ms: bars[check] ?? null };
  });
}

/** What a reader sees of it. */
export function print({ local, redis }) {
  const line = (...cells) => console.log(cells.map((cell, at) => String(cell).padEnd(at ? 13 : 26)).join(""));
  line("check, ms at most", "p50", "p99", "bar, p99", "samples");
  for (const row of local) line(row.check, row.p50_ms, row.p99_ms, row.bar_ms ?? "", row.samples);
  for (const row of redis) line(`${row.check}, asking Redis`, row.p50_ms, row.p99_ms, row.bar_ms ?? "", row.samples);
}

export async function checks({ out, profile }) {
  const echo = await startEcho(out);
  const { up, planes } = await startPlanes({ profile, dir: `${out}/checks`, portBase: PORT_BASE, proxies: 1 });
  const servers = [{ slug: "echo", url: echo.url }];
  const run = Date.now().toString(36);
  const hot = await provision(up, { tenant: `hot-${run}`, servers, roles: 20 });
  const strict = await provision(up, { tenant: `strict-${run}`, servers, limits: STRICT });
  for (const name of ["postgres", "redis", "control"]) await pin(tree(planes[name].pid), LOAD_CORE);
  let proxy = planes["proxy-0"];
  const start = async (without) => {
    await proxy.end("SIGTERM");
    proxy = await proxy.like(proxy.name, { "--join-token-file": null }, { ...TIMED, ...without }).start();
    await pin([proxy.pid], PROXY_CORE);
  };
  await start({});
  const asking = await measure(proxySide("redis", proxy, strict.endpoints.echo), echo, strict, out, REDIS_BARS);
  const redis = asking.filter((row) => row.check === "limit");
  await start({ REDIS_URL: null });
  const local = await measure(proxySide("local", proxy, hot.endpoints.echo), echo, hot, out, BARS);
  const result = Object.fromEntries(local.map((row) => [`check_${row.check}_p99_ms`, row.p99_ms]));
  result.check_limit_redis_p99_ms = redis[0].p99_ms;
  return { result, local, redis };
}
