// One burst of load on one side: how much CPU time it took, and whether every call was answered.
import { inRoot, must, sleep } from "../peers/processes.mjs";
import { cpuMicros } from "./machine.mjs";
import { LOAD_CORE } from "./sides.mjs";

export const CONNECTIONS = 16;

/** As many calls as go; what wrk says of them, and the proxy's CPU time. */
async function asFastAsItGoes(side, files, seconds, paths = []) {
  const cpu = cpuMicros(side.pids);
  const wrk = ["wrk", "-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, "-s", inRoot("tests/bench/post.lua"), side.url];
  const printed = await must("taskset", ["-c", String(LOAD_CORE), ...wrk, "--", files.headers, files.body, ...paths]);
  const load = JSON.parse(printed.trim().split("\n").at(-1));
  await settled(side);
  const took = cpuMicros(side.pids) - cpu;
  if (load.requests === 0 || took === 0) throw new Error(`${side.name}: ${load.requests} calls in ${took} µs: too few to measure`);
  return { load, printed, cpu: took };
}

/** One burst of calls that are refused, all of them; CPU time for each. */
export async function refusedBurst(side, echo, files, seconds) {
  const before = await echo.calls();
  const { load, cpu } = await asFastAsItGoes(side, files, seconds);
  const arrived = (await echo.calls()) - before;
  if (arrived > 0) throw new Error(`${side.name}: ${arrived} of the calls that should be refused were not`);
  return { calls: load.requests, micros: cpu / load.requests };
}

/** One burst of load on one side, in turn to each of `paths` where there are any; calls and CPU time per call. */
export async function burst(side, echo, files, seconds, paths = []) {
  const before = await echo.calls();
  const { load, printed, cpu } = await asFastAsItGoes(side, files, seconds, paths);
  const arrived = (await echo.calls()) - before;
  if (load.errors > 0) throw new Error(`${side.name}: ${load.errors} failed calls\n${printed}`);
  // Calls under way when the load ended arrive without being counted; any other difference was refused on the way.
  if (arrived < load.requests || arrived > load.requests + 4 * CONNECTIONS) {
    throw new Error(`${side.name}: ${load.requests} calls were answered, ${arrived} reached the upstream`);
  }
  return {
    calls: load.requests,
    perSecond: load.requests / load.seconds,
    micros: cpu / arrived,
    responseBytes: load.bytes / load.requests,
  };
}

/**
 * Waits until the side has no work left from its calls (audit upload), so that none of it escapes the measurement and none
 * of it is left for the next: nothing spooled but the segment being written, and idle, at most one tick in 250 ms, for a
 * second.
 */
export async function settled(side) {
  let idle = 0;
  for (const deadline = Date.now() + 180_000; Date.now() < deadline; ) {
    const before = cpuMicros(side.pids);
    await sleep(250);
    const quiet = cpuMicros(side.pids) - before <= 10_000 && (await spooled(side)) <= SEGMENT;
    idle = quiet ? idle + 1 : 0;
    if (idle === 4) return;
  }
  throw new Error(`${side.name} is still busy three minutes after its calls`);
}

/** Bytes of a spool segment: one that is not full yet stays, stored or not. */
const SEGMENT = 9 * 1024 * 1024;

/** Bytes of audit records in the spool. */
async function spooled(side) {
  if (!side.adminUrl) return 0;
  const metrics = await (await fetch(`${side.adminUrl}/metrics`)).text();
  return Number(/^portcullis_audit_spool_bytes (\S+)/m.exec(metrics)?.[1] ?? Number.NaN);
}
