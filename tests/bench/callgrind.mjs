// A process under callgrind: what one of its threads executes between two moments, and how often it allocates.
import { mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { must } from "../peers/processes.mjs";

/** Command line before that of a program which is to be counted. Nothing is until `count` says so. */
export const callgrind = (folder) => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const out = `--callgrind-out-file=${folder}/out`;
  return ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--instr-atstart=no", "--dump-line=no", out];
};

/** What a dump may take: it is written by the program itself, slowed down as it is. */
const PATIENCE = 300_000;

export const count = (pid) => must("callgrind_control", ["-i", "on", String(pid)], { timeout: PATIENCE });

/**
 * What the thread that executes functions named like `named` has executed since the last time this was called: instructions
 * by function, and calls of the allocator by whoever is not it.
 */
export async function sinceLast(pid, folder, named) {
  const before = new Set(readdirSync(folder));
  await must("callgrind_control", ["-d", String(pid)], { timeout: PATIENCE });
  const files = readdirSync(folder).filter((file) => !before.has(file));
  const profiles = files.map((file) => parse(readFileSync(`${folder}/${file}`, "utf8")));
  const fitting = profiles.filter(({ functions }) => [...functions.keys()].some((name) => named.test(name)));
  if (fitting.length !== 1) throw new Error(`${fitting.length} of ${profiles.length} threads execute ${named}; see ${folder}`);
  return fitting[0];
}

/** The allocator's entry points: mimalloc's, which C reaches as well as Rust. */
const ALLOCATES = /^mi_(heap_)?(malloc|zalloc|calloc|realloc|rezalloc|recalloc)/;
const ALLOCATOR = /^_?mi_/;

/** callgrind's text format, https://valgrind.org/docs/manual/cl-format.html, as far as it is used here. */
function parse(text) {
  const names = new Map();
  const functions = new Map();
  let allocations = 0;
  let current = "";
  // The line after `calls=` is what the callee has cost.
  let callee = null;
  const named = (value) => {
    const [, id, name] = /^\((\d+)\)(?: (.*))?$/.exec(value);
    if (name !== undefined) names.set(id, name);
    return names.get(id);
  };
  for (const line of text.split("\n")) {
    if (line.startsWith("fn=")) current = named(line.slice(3));
    else if (line.startsWith("cfn=")) callee = named(line.slice(4));
    else if (line.startsWith("calls=")) {
      if (ALLOCATES.test(callee) && !ALLOCATOR.test(current)) allocations += Number(/\d+/.exec(line)[0]);
    } else if (/^[+\-*\d]/.test(line)) {
      if (callee === null) functions.set(current, (functions.get(current) ?? 0) + Number(line.split(" ")[1] ?? 0));
      callee = null;
    }
  }
  return { functions, allocations };
}

/**
 * Instructions of all functions but SHA-256, which callgrind has to execute without the processor's instructions for it, so
 * that its figure says nothing.
 */
export const instructions = ({ functions }) =>
  [...functions].reduce((sum, [name, cost]) => (/sha2::|sha256/i.test(name) ? sum : sum + cost), 0);
