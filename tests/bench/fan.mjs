// Calls that go to many upstreams in turn, beside the same calls to one of them.
import { provision } from "../peers/setup.mjs";
import { burst } from "./burst.mjs";
import { median, pin, tree } from "./machine.mjs";
import { startPlanes } from "./planes.mjs";
import { request, verify } from "./requests.mjs";
import { LOAD_CORE, PROXY_CORE, TOOL, proxySide, startEcho } from "./sides.mjs";

const PORT_BASE = 8580;
const UPSTREAMS = 20;

export async function fanOut({ out, options }) {
  const { profile, rounds, seconds } = options;
  const echoes = [];
  for (let at = 0; at < UPSTREAMS; at++) echoes.push(await startEcho(out));
  const calls = async () => (await Promise.all(echoes.map((echo) => echo.calls()))).reduce((sum, each) => sum + each, 0);
  const { up, planes } = await startPlanes({ profile, dir: `${out}/fan`, portBase: PORT_BASE, proxies: 1 });
  const servers = echoes.map((echo, at) => ({ slug: `echo-${String(at).padStart(2, "0")}`, url: echo.url }));
  const made = await provision(up, { tenant: `fan-${Date.now().toString(36)}`, servers });
  for (const name of ["postgres", "redis", "control"]) await pin(tree(planes[name].pid), LOAD_CORE);
  const former = planes["proxy-0"];
  await former.end("SIGTERM");
  const proxy = await former.like("proxy-0", { "--join-token-file": null }, { REDIS_URL: null, PORTCULLIS_WORKERS: "1" }).start();
  await pin([proxy.pid], PROXY_CORE);
  const urls = Object.values(made.endpoints);
  const paths = urls.map((url) => new URL(url).pathname);
  const side = proxySide("gateway", proxy, urls[0]);
  const files = request({ name: "fan", bytes: 300 }, { side, tool: TOOL, key: made.key, folder: out });
  for (const url of urls) await verify(proxySide("gateway", proxy, url), files);
  const samples = { one: [], many: [] };
  const WAYS = [["one", []], ["many", paths]];
  for (const [, turns] of WAYS) await burst(side, { calls }, files, 1, turns);
  for (let round = 0; round < Number(rounds); round++) {
    for (const [way, turns] of WAYS) samples[way].push(await burst(side, { calls }, files, Number(seconds), turns));
  }
  const ratios = samples.many.map((sample, round) => sample.micros / samples.one[round].micros);
  const micros = (way) => Number(median(samples[way].map((sample) => sample.micros)).toFixed(1));
  const result = { ratio_cpu_20_upstreams_vs_one: Number(median(ratios).toFixed(3)) };
  return { result, cpu_micros_per_call: { one: micros("one"), many: micros("many") }, ratios };
}
