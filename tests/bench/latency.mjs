// Latency at fixed rates, measured from the moment at which each call should have left.
import { spawn } from "node:child_process";
import { median } from "./machine.mjs";
import { benchTool } from "./places.mjs";
import { asText, request, verify } from "./requests.mjs";

const RATES = [200, 1_000, 4_000];
const SECONDS = 5;
const ROUNDS = 5;

/** At each rate: median p50 and p99 of each side over interleaved rounds, and what those between add to no proxy at all. */
export async function latency(conditions) {
  const rows = [];
  for (const rate of RATES) rows.push(await atRate(rate, conditions));
  return rows;
}

async function atRate(rate, { sides, key, row, tool, folder, core }) {
  const samples = Object.fromEntries(sides.map((side) => [side.name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const side of sides) {
      const files = request(row, { side, tool, key, folder });
      if (round === 0) await verify(side, files);
      samples[side.name].push(await load(side, files, { core, rate, seconds: SECONDS }));
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
  return { rate, seconds: SECONDS, rounds: ROUNDS, sides: result };
}

/** Calls at a fixed rate; `ca`: the file of the CA where the side speaks TLS; `from`: the callers' address. */
export async function load(side, files, { core, rate, seconds, ca, from, profile }) {
  const program = benchTool("bench-load", profile);
  const target = [`127.0.0.1:${side.port}`, new URL(side.url).pathname, String(rate), String(seconds), ...(ca ? [ca] : []), ...(from ? [from] : [])];
  const child = spawn("taskset", ["-c", String(core), program, ...target], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(asText(files));
  let printed = "";
  for await (const chunk of child.stdout) printed += chunk;
  if (printed === "") throw new Error(`${side.name}: a connection of ${rate} calls a second failed`);
  const sample = JSON.parse(printed);
  if (sample.errors > 0 || sample.calls !== rate * seconds) {
    throw new Error(`${side.name}: ${sample.errors} of ${sample.calls} calls failed at ${rate}/s`);
  }
  return sample;
}
