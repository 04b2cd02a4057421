// Latency at a low fixed rate, measured from the moment at which each call should have left.
import { spawn } from "node:child_process";
import { median } from "./machine.mjs";
import { benchTool } from "./places.mjs";
import { asText, request, verify } from "./requests.mjs";

const RATE = 1_000;
const SECONDS = 5;
const ROUNDS = 5;

/** Median p50 and p99 of each side over interleaved rounds, and what nginx and the gateway add to no proxy at all. */
export async function latency({ echo, nginx, gateway, row, tool, folder, core }) {
  const sides = [echo, nginx, gateway];
  const samples = Object.fromEntries(sides.map((side) => [side.name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const side of sides) {
      const files = request(row, { side, tool, key: gateway.key, folder });
      if (round === 0) await verify(side, files);
      samples[side.name].push(await load(side, files, core));
    }
  }
  const of = (name, member) => Number(median(samples[name].map((sample) => sample[member])).toFixed(3));
  const added = (name, member) =>
    Number(median(samples[name].map((sample, at) => sample[member] - samples.direct[at][member])).toFixed(3));
  const result = {};
  for (const { name } of sides) {
    result[name] = { p50_ms: of(name, "p50_ms"), p99_ms: of(name, "p99_ms") };
    if (name !== "direct") {
      Object.assign(result[name], { added_p50_ms: added(name, "p50_ms"), added_p99_ms: added(name, "p99_ms") });
    }
  }
  return { rate: RATE, seconds: SECONDS, rounds: ROUNDS, sides: result };
}

async function load(side, files, core) {
  const program = benchTool("bench-load");
  const target = [`127.0.0.1:${side.port}`, new URL(side.url).pathname, String(RATE), String(SECONDS)];
  const child = spawn("taskset", ["-c", String(core), program, ...target], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(asText(files));
  let printed = "";
  for await (const chunk of child.stdout) printed += chunk;
  const sample = JSON.parse(printed);
  if (sample.errors > 0 || sample.calls !== RATE * SECONDS) {
    throw new Error(`${side.name}: ${sample.errors} of ${sample.calls} calls failed at ${RATE}/s`);
  }
  return sample;
}
