// A tenant far above its limit, beside one that is not: what the quiet one's calls notice.
import { spawn } from "node:child_process";
import { provision } from "../peers/setup.mjs";
import { load } from "./latency.mjs";
import { cpuMicros, median, pin, tree } from "./machine.mjs";
import { benchTool } from "./places.mjs";
import { startPlanes } from "./planes.mjs";
import { asText, request, verify } from "./requests.mjs";
import { LOAD_CORE, PROXY_CORE, TOOL, proxySide, startEcho } from "./sides.mjs";

const PORT_BASE = 8560;
const PAIRS = 10;
const SECONDS = 4;
/** Calls a second: of the quiet tenant, of the other's limit, and of the other. */
const QUIET = 200;
const LIMIT = 100;
const NOISE = 20 * LIMIT;
/** Of the proxy's core. */
const MOST_BUSY = 0.6;

/** Calls at a fixed rate of which most are refused; ends by itself. */
function noise(side, files, seconds) {
  const words = ["-c", String(LOAD_CORE), "nice", "-n", "10", benchTool("bench-load", side.tools), `127.0.0.1:${side.port}`];
  const child = spawn("taskset", [...words, new URL(side.url).pathname, String(NOISE), String(seconds)], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(asText(files));
  let printed = "";
  child.stdout.on("data", (chunk) => (printed += chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject).on("close", () => (printed === "" ? reject(new Error("the noise broke off")) : resolve(JSON.parse(printed))));
  });
}

export async function noisy({ out, profile, tools }) {
  const echo = await startEcho(out, tools);
  const { up, planes } = await startPlanes({ profile, dir: `${out}/noise`, portBase: PORT_BASE, proxies: 1 });
  const run = Date.now().toString(36);
  const servers = [{ slug: "echo", url: echo.url }];
  const quiet = await provision(up, { tenant: `quiet-${run}`, servers });
  const limits = { per_minute: 60 * LIMIT, burst: LIMIT / 10, concurrency: 0 };
  const loud = await provision(up, { tenant: `loud-${run}`, servers, limits });
  for (const name of ["postgres", "redis", "control"]) await pin(tree(planes[name].pid), LOAD_CORE);
  const former = planes["proxy-0"];
  await former.end("SIGTERM");
  const proxy = await former.like("proxy-0", { "--join-token-file": null }, { REDIS_URL: null, PORTCULLIS_WORKERS: "1" }).start();
  await pin([proxy.pid], PROXY_CORE);
  const sideOf = (name, made) => {
    const side = { ...proxySide(name, proxy, made.endpoints.echo), tools };
    return { side, files: request({ name: `noise_${name}`, bytes: 300 }, { side, tool: TOOL, key: made.key, folder: out }) };
  };
  const [calm, wild] = [sideOf("quiet", quiet), sideOf("loud", loud)];
  await verify(calm.side, calm.files);
  const measured = () => load(calm.side, calm.files, { core: LOAD_CORE, rate: QUIET, seconds: SECONDS, profile: tools });
  await measured();
  const pairs = [];
  for (let at = 0; at < PAIRS; at++) {
    const alone = await measured();
    const making = noise(wild.side, wild.files, SECONDS + 1);
    const before = cpuMicros([proxy.pid]);
    const beside = await measured();
    const busy = (cpuMicros([proxy.pid]) - before) / (SECONDS * 1e6);
    const made = await making;
    const refused = made.errors / made.calls;
    if (refused < 0.9) throw new Error(`only ${refused} of the loud tenant's calls were refused`);
    if (busy > MOST_BUSY) throw new Error(`the proxy's core is ${busy} busy: what the quiet tenant notices is a full core`);
    pairs.push({ alone_p99_ms: alone.p99_ms, beside_p99_ms: beside.p99_ms, ratio: beside.p99_ms / alone.p99_ms, busy, refused });
  }
  const result = { noisy_ratio_p99: Number(median(pairs.map(({ ratio }) => ratio)).toFixed(3)) };
  return { result, pairs };
}
