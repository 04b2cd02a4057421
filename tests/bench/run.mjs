// `make bench`: what a call costs, and what survival takes. README.md says how.
//   node tests/bench/run.mjs [--only path|survival] [--rounds 6] [--seconds 4] [--tries 100] [--profile release] [--up FILE]
// Prints figures and writes target/bench/latest.json; `--only` leaves the other figures there as they are. Any refused, failed
// or missing call that should not be ends the run with an error.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { inRoot, runToEnd, stopAll } from "../peers/processes.mjs";
import { checks, print as printChecks } from "./checks.mjs";
import { counting } from "./counting.mjs";
import { processor } from "./machine.mjs";
import { path, print } from "./path.mjs";
import { scale } from "./scale.mjs";
import { survival } from "./survival.mjs";

const { values: options } = parseArgs({
  options: {
    only: { type: "string" },
    rounds: { type: "string", default: "6" },
    seconds: { type: "string", default: "4" },
    tries: { type: "string", default: "100" },
    profile: { type: "string", default: "release" },
    up: { type: "string" },
  },
});
const out = inRoot("target/bench");
const file = `${out}/latest.json`;
const [profile, tries] = [options.profile, Number(options.tries)];

/** Parts of a run; each has its processes to itself. `--only survival` also takes a single one of its parts. */
const PARTS = {
  path: { of: "path", run: () => path({ out, options }), print },
  checks: { of: "path", run: () => checks({ out, profile }), print: printChecks },
  scale: { of: "survival", run: () => scale({ out, profile }) },
  counting: { of: "survival", run: () => counting({ out, profile, rounds: Number(options.rounds) }) },
  survival: { of: "survival", run: () => survival({ out, profile, tries }) },
};

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
