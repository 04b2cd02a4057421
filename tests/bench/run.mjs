// `make bench`: what a call costs, and what survival takes. README.md says how.
//   node tests/bench/run.mjs [--only calls|survival|PART] [--rounds 6] [--seconds 4] [--tries 100] [--calls 200000] [--profile release] [--up FILE]
// Prints figures and writes target/bench/latest.json; `--only` leaves the other figures there as they are. Any refused, failed
// or missing call that should not be ends the run with an error.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { inRoot, runToEnd, stopAll } from "../peers/processes.mjs";
import { checks, print as printChecks } from "./checks.mjs";
import { cost } from "./cost.mjs";
import { counting } from "./counting.mjs";
import { processor } from "./machine.mjs";
import { fanOut } from "./fan.mjs";
import { listener } from "./listener.mjs";
import { noisy } from "./noise.mjs";
import { path, print } from "./path.mjs";
import { scale } from "./scale.mjs";
import { streams } from "./streams.mjs";
import { survival } from "./survival.mjs";

const { values: options } = parseArgs({
  options: {
    only: { type: "string" },
    rounds: { type: "string", default: "6" },
    seconds: { type: "string", default: "4" },
    tries: { type: "string", default: "100" },
    calls: { type: "string" },
    profile: { type: "string", default: "release" },
    up: { type: "string" },
  },
});
const out = inRoot("target/bench");
const file = `${out}/latest.json`;
const [profile, tries] = [options.profile, Number(options.tries)];

/** Parts of a run; each has its processes to itself. `--only` takes one of them, or a group. */
const PARTS = {
  path: { of: "calls", run: () => path({ out, options }), print },
  checks: { of: "calls", run: () => checks({ out, profile }), print: printChecks },
  cost: { of: "calls", run: () => instructions({ out, profile }) },
  listener: { of: "calls", run: () => listener({ out, options }) },
  streams: { of: "calls", run: () => streams({ out, profile }) },
  fan: { of: "calls", run: () => fanOut({ out, options }) },
  noise: { of: "calls", run: () => noisy({ out, profile }) },
  scale: { of: "survival", run: () => scale({ out, profile }) },
  counting: { of: "survival", run: () => counting({ out, profile, rounds: Number(options.rounds) }) },
  survival: { of: "survival", run: () => survival({ out, profile, tries }) },
};

/** What callgrind counts, as figures of a run. */
async function instructions(conditions) {
  const rows = await cost(conditions);
  const named = Object.entries(rows).flatMap(([row, { instructions: executed, allocations }]) => [
    [`instructions_${row}`, executed],
    [`allocations_${row}`, allocations],
  ]);
  return { result: Object.fromEntries(named), rows };
}

async function main() {
  if (availableParallelism() < 2) throw new Error("two cores are needed: one for the proxy, one for the load");
  mkdirSync(out, { recursive: true });
  const wanted = Object.entries(PARTS).filter(([name, part]) => [undefined, name, part.of].includes(options.only));
  if (wanted.length === 0) throw new Error(`there is no part ${options.only}`);
  for (const [name, part] of wanted) {
    const found = await part.run();
    await stopAll();
    part.print?.(found);
    const { result, ...behind } = found;
    const former = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
    const about = { processor: processor(), profile: options.profile, measured_at: new Date().toISOString() };
    // Those of the path stand where they always stood.
    const details = name === "path" ? behind : { [name]: { ...behind, ...about } };
    writeFileSync(file, `${JSON.stringify({ ...former, ...result, ...about, ...details }, null, 2)}\n`);
    console.log(JSON.stringify(result, null, 2));
  }
  console.log("target/bench/latest.json");
  return true;
}

await runToEnd(main);
