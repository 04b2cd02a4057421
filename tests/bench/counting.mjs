// Counting through Redis: how many calls to it a call takes where limits are large, and what it costs where each call has to ask.
import { connect } from "node:net";
import { median, pin, tree } from "./machine.mjs";
import { burst, settled } from "./burst.mjs";
import { startPlanes } from "./planes.mjs";
import { request, verify } from "./requests.mjs";
import { LOAD_CORE, PROXY_CORE, STRICT, TOOL, proxySide, startEcho } from "./sides.mjs";
import { provision } from "../peers/setup.mjs";

const PORT_BASE = 8300;
const SECONDS = 4;
/** Calls of the hot bucket, below which its figure does not count. */
const LEAST_CALLS = 100_000;
/** By which scripts of limits are called. */
const SCRIPT_CALLS = ["eval", "evalsha", "fcall"];

/** Calls of each command so far, as Redis counts them. */
async function commandCalls(redisUrl) {
  const { hostname, port, password } = new URL(redisUrl);
  const socket = connect(Number(port), hostname);
  socket.write(`AUTH ${password}\r\nINFO commandstats\r\nQUIT\r\n`);
  let text = "";
  for await (const chunk of socket) text += chunk;
  const lines = [...text.matchAll(/^cmdstat_([a-z|]+):calls=(\d+)/gm)];
  if (lines.length === 0) throw new Error(`Redis says nothing of its commands: ${text.slice(0, 200)}`);
  return Object.fromEntries(lines.map(([, name, calls]) => [name, Number(calls)]));
}

const scripts = (calls) => SCRIPT_CALLS.reduce((sum, name) => sum + (calls[name] ?? 0), 0);

export async function counting({ out, profile, rounds }) {
  const echo = await startEcho(out);
  const { up, planes } = await startPlanes({ profile, dir: `${out}/counting`, portBase: PORT_BASE, proxies: 2 });
  const servers = [{ slug: "echo", url: echo.url }];
  const run = Date.now().toString(36);
  const hot = await provision(up, { tenant: `hot-${run}`, servers });
  const strict = await provision(up, { tenant: `strict-${run}`, servers, limits: STRICT });
  const variables = { PORTCULLIS_WORKERS: "1" };
  const started = [];
  for (const [name, without] of [["proxy-0", {}], ["proxy-1", { REDIS_URL: null }]]) {
    await planes[name].end("SIGTERM");
    const proxy = await planes[name].like(name, { "--join-token-file": null }, { ...variables, ...without }).start();
    await pin([proxy.pid], PROXY_CORE);
    started.push(proxy);
  }
  for (const name of ["postgres", "redis", "control"]) await pin(tree(planes[name].pid), LOAD_CORE);
  const [together, alone] = started;

  const row = { name: "300b", bytes: 300 };
  const ready = async (made, one) => {
    const files = request({ ...row, name: `${row.name}.${one.name}` }, { side: one, tool: TOOL, key: made.key, folder: out });
    await verify(one, files);
    await settled(one);
    await burst(one, echo, files, 1);
    return files;
  };

  const hotSide = proxySide("hot", together, hot.endpoints.echo);
  const hotFiles = await ready(hot, hotSide);
  let [calls, asked] = [0, 0];
  while (calls < LEAST_CALLS) {
    const before = scripts(await commandCalls(up.redis_url));
    calls += (await burst(hotSide, echo, hotFiles, SECONDS)).calls;
    asked += scripts(await commandCalls(up.redis_url)) - before;
  }
  console.log(`hot bucket: ${asked} calls to Redis for ${calls} calls`);

  const sides = [proxySide("redis", together, strict.endpoints.echo), proxySide("local", alone, strict.endpoints.echo)];
  const files = {};
  for (const one of sides) files[one.name] = await ready(strict, one);
  const samples = { redis: [], local: [] };
  const before = scripts(await commandCalls(up.redis_url));
  for (let round = 0; round < rounds; round++) {
    for (const one of sides) samples[one.name].push(await burst(one, echo, files[one.name], SECONDS));
  }
  const strictCalls = samples.redis.reduce((sum, sample) => sum + sample.calls, 0);
  const strictAsked = scripts(await commandCalls(up.redis_url)) - before;
  if (strictAsked < strictCalls) throw new Error(`only ${strictAsked} of ${strictCalls} calls asked Redis`);
  const ratios = samples.redis.map((sample, round) => sample.micros / samples.local[round].micros);
  const of = (name, member) => Number(median(samples[name].map((sample) => sample[member])).toFixed(2));
  const result = {
    redis_calls_per_call_hot: Number((asked / calls).toFixed(5)),
    ratio_cpu_redis_script_vs_local: Number(median(ratios).toFixed(3)),
  };
  return {
    result,
    hot: { calls, redis_calls: asked },
    strict: {
      rounds,
      calls: { redis: strictCalls, local: samples.local.reduce((sum, sample) => sum + sample.calls, 0) },
      redis_calls_per_call: Number((strictAsked / strictCalls).toFixed(3)),
      cpu_micros_per_call: { redis: of("redis", "micros"), local: of("local", "micros") },
      ratios,
    },
  };
}
