// Starting the processes of a run, and stopping exactly those.
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { openSync } from "node:fs";
import { join } from "node:path";

export const root = new URL("../../", import.meta.url).pathname;
export const inRoot = (...path) => join(root, ...path);

const stops = [];

/** Has `stop` called by `stopAll`, last first. */
export const atEnd = (stop) => stops.push(stop);

/** A port of 127.0.0.1 that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Starts a server, its output going to `log`; resolves when its port accepts connections. */
export async function serve(command, args, { port, log, env = {} }) {
  const out = openSync(log, "a");
  const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: ["ignore", out, out] });
  atEnd(() => end(child));
  for (const deadline = Date.now() + 60_000; ; ) {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}; see ${log}`);
    if (await accepts(port)) return child;
    if (Date.now() > deadline) throw new Error(`${command} does not listen on ${port}; see ${log}`);
    await sleep(50);
  }
}

async function accepts(port) {
  const { connect } = await import("node:net");
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket.destroy() && true));
    socket.on("error", () => resolve(false));
  });
}

/** Runs a command to its end. */
export function run(command, args, { env = {}, cwd = root, timeout = 120_000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, timeout });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => (stdout += chunk));
    child.stderr.on("data", (chunk) => (stderr += chunk));
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** Like `run`, but anything other than success throws. */
export async function must(command, args, options) {
  const ended = await run(command, args, options);
  if (ended.code !== 0) {
    const how = ended.signal ?? ended.code;
    throw new Error(`${command} ${args.join(" ")}: ${how}\n${ended.stdout.slice(-2000)}${ended.stderr.slice(-2000)}`);
  }
  return ended.stdout;
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.on("close", resolve));
  child.kill("SIGTERM");
  const patience = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await gone;
  clearTimeout(patience);
}

/** Stops everything that was started. */
export async function stopAll() {
  for (const stop of stops.splice(0).reverse()) await stop().catch((error) => console.error(error));
}

/** Runs `main` to its end, which is also the end of all that was started; exits 0 only when it returns true. */
export async function runToEnd(main) {
  const giveUp = () => stopAll().then(() => process.exit(1));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, giveUp);
  // Whoever reads the output may go away first (`| head`).
  process.stdout.once("error", giveUp);
  const fine = await main().catch((error) => console.error(error));
  await stopAll();
  process.exitCode = fine === true ? 0 : 1;
}
