// What the kernel says about processes, and where they may run.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { must } from "../peers/processes.mjs";

/** USER_HZ: what /proc counts CPU time in. It is 100 on every Linux this runs on. */
const TICKS_PER_SECOND = 100;

const stat = (pid) => {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The command, in parentheses, may hold spaces; the fields after it are counted from 3.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
};

/** User and system CPU time of the processes so far, in microseconds. */
export const cpuMicros = (pids) => (pids.reduce((sum, pid) => sum + stat(pid).ticks, 0) * 1e6) / TICKS_PER_SECOND;

/** Resident memory now and at most so far, in MiB. */
export function memoryMib(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const mib = (name) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)[1]) / 1024;
  return { now: mib("VmRSS"), peak: mib("VmHWM") };
}

/** From now on the peak is that of what comes. */
export const peakFromNow = (pid) => writeFileSync(`/proc/${pid}/clear_refs`, "5");

/** The process that started `pid`. */
export const parent = (pid) => stat(pid).parent;

/** `pid` and everything below it. */
export function tree(pid) {
  const children = new Map();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const above = stat(entry).parent;
      children.set(above, [...(children.get(above) ?? []), Number(entry)]);
    } catch {
      // It has ended since.
    }
  }
  const all = [pid];
  for (let at = 0; at < all.length; at++) all.push(...(children.get(all[at]) ?? []));
  return all;
}

/** Moves every thread of the processes to one core. */
export async function pin(pids, core) {
  for (const pid of pids) await must("taskset", ["-a", "-p", "-c", String(core), String(pid)]);
}

export const processor = () => /model name\s*:\s*(.*)/.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "unknown";

export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
