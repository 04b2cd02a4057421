// What the listener adds: TLS and HTTP/2 against nginx with the same certificate, and a TLS handshake.
import { readFileSync } from "node:fs";
import { connect } from "node:tls";
import { must } from "../peers/processes.mjs";
import { provision } from "../peers/setup.mjs";
import { burst, settled } from "./burst.mjs";
import { certificates, showing } from "./certificates.mjs";
import { cpuMicros, median, pin, tree } from "./machine.mjs";
import { startPlanes } from "./planes.mjs";
import { headersOf, request } from "./requests.mjs";
import { percentile } from "./samples.mjs";
import { LOAD_CORE, PROXY_CORE, TOOL, proxySide, startEcho, startNginx } from "./sides.mjs";

const PORT_BASE = 8570;
const HANDSHAKES = 500;
/** Connections, and requests at once on each. */
const CLIENTS = 16;

/** As many calls as go over HTTP/2; CPU time for each. */
async function burst2(side, echo, files, seconds) {
  const before = { calls: await echo.calls(), cpu: cpuMicros(side.pids) };
  const headers = Object.entries(headersOf(files)).flatMap(([name, value]) => ["-H", `${name.toLowerCase()}: ${value}`]);
  const words = ["h2load", `-c${CLIENTS}`, "-m1", "-t1", "-D", String(seconds), "-d", files.body, ...headers, side.url];
  const printed = await must("taskset", ["-c", String(LOAD_CORE), ...words]);
  await settled(side);
  const [, failed, errored] = /requests: .* (\d+) failed, (\d+) errored/.exec(printed) ?? [];
  const arrived = (await echo.calls()) - before.calls;
  const fine = Number(/status codes: (\d+) 2xx/.exec(printed)?.[1]);
  if (failed === undefined || Number(failed) + Number(errored) > 0) throw new Error(`${side.name}: failed calls\n${printed}`);
  if (arrived < fine || arrived > fine + 4 * CLIENTS) throw new Error(`${side.name}: ${fine} answered, ${arrived} reached the upstream`);
  return { calls: fine, micros: (cpuMicros(side.pids) - before.cpu) / arrived };
}

/** Time of a whole handshake, the client's part of it too: no less than what the proxy takes. */
const handshake = (port, ca) =>
  new Promise((resolve, reject) => {
    let begun;
    const socket = connect({ host: "127.0.0.1", port, ca }, () => {
      resolve(performance.now() - begun);
      socket.destroy();
    });
    socket.once("connect", () => (begun = performance.now())).once("error", reject);
  });

export async function listener({ out, options }) {
  const { profile, rounds, seconds } = options;
  const files = await certificates(`${out}/certificates`);
  const echo = await startEcho(out);
  const { up, planes } = await startPlanes({ profile, dir: `${out}/listener`, portBase: PORT_BASE, proxies: 1 });
  const made = await provision(up, { tenant: `tls-${Date.now().toString(36)}`, servers: [{ slug: "echo", url: echo.url }], roles: 20 });
  for (const name of ["postgres", "redis", "control"]) await pin(tree(planes[name].pid), LOAD_CORE);
  const former = planes["proxy-0"];
  await former.end("SIGTERM");
  const proxy = await former.like("proxy-0", { "--join-token-file": null, ...showing(files) }, { REDIS_URL: null, PORTCULLIS_WORKERS: "1" }).start();
  await pin([proxy.pid], PROXY_CORE);
  const encrypted = (side) => ({ ...side, url: side.url.replace("http:", "https:") });
  const gateway = encrypted(proxySide("gateway", proxy, made.endpoints.echo));
  const nginx = encrypted(await startNginx(out, echo, files));
  const result = {};
  const rows = [];
  for (const [name, one] of [["tls", burst], ["h2", burst2]]) {
    const samples = { nginx: [], gateway: [] };
    const calls = {};
    for (const side of [nginx, gateway]) {
      calls[side.name] = request({ name: `listener_${name}`, bytes: 300 }, { side, tool: TOOL, key: made.key, folder: out });
      await one(side, echo, calls[side.name], 1);
    }
    for (let round = 0; round < Number(rounds); round++) {
      for (const side of [nginx, gateway]) samples[side.name].push(await one(side, echo, calls[side.name], Number(seconds)));
    }
    const ratios = samples.gateway.map((sample, round) => sample.micros / samples.nginx[round].micros);
    const micros = (side) => Number(median(samples[side].map((sample) => sample.micros)).toFixed(1));
    result[`ratio_cpu_vs_nginx_300b_${name}`] = Number(median(ratios).toFixed(3));
    rows.push({ row: name, cpu_micros_per_call: { nginx: micros("nginx"), gateway: micros("gateway") }, ratios });
  }
  const ca = [readFileSync(files.ca)];
  const times = [];
  for (let at = 0; at < HANDSHAKES; at++) times.push(await handshake(gateway.port, ca));
  result.tls_handshake_p50_ms = Number(percentile(times, 0.5).toFixed(2));
  result.tls_handshake_p99_ms = Number(percentile(times, 0.99).toFixed(2));
  return { result, rows };
}
