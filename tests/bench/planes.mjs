// Planes that a run may kill and start again one by one: what `portcullis up` has started, without its supervisor.
import { spawn } from "node:child_process";
import { openSync, readFileSync } from "node:fs";
import { atEnd, must, sleep } from "../peers/processes.mjs";
import { portcullis } from "./places.mjs";

const words = (pid, file) => readFileSync(`/proc/${pid}/${file}`, "utf8").split("\0").filter(Boolean);

/** Whether the process has not ended. */
function runs(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1][0] !== "Z";
  } catch {
    return false;
  }
}

/** A process of the run: what it was started with, and its number while it runs. */
class Plane {
  constructor(name, { command, options = {}, env, log }) {
    Object.assign(this, { name, command, options, env, log, pid: null });
  }

  /** One that runs already; a plane's every option has a value. */
  static running({ name, process: { pid }, log }) {
    const env = Object.fromEntries(words(pid, "environ").map((line) => /([^=]*)=(.*)/s.exec(line).slice(1)));
    const [program, subcommand, ...rest] = words(pid, "cmdline");
    const options = {};
    for (let at = 0; at < rest.length; at += 2) options[rest[at]] = rest[at + 1];
    return Object.assign(new Plane(name, { command: [program, subcommand], options, env, log }), { pid });
  }

  /** The same under another name, or with other options and variables: null takes one away, true is one without a value. */
  like(name, options, env = {}) {
    const kept = (all) => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
    const { command, log } = this;
    return new Plane(name, {
      command,
      options: kept({ ...this.options, ...options }),
      env: kept({ ...this.env, ...env }),
      log: log.replace(`${this.name}.log`, `${name}.log`),
    });
  }

  /** The same, run by another program: `words` go before its command line. */
  under(...words) {
    return Object.assign(this.like(this.name, {}), { command: [...words, ...this.command] });
  }

  /** Starts it; resolves when its admin listener, asked every `look` ms, says that it is ready. */
  async start(look = 25) {
    const out = openSync(this.log, "a");
    const [program, ...words] = this.command;
    const options = Object.entries(this.options).flatMap(([name, value]) => (value === true ? [name] : [name, value]));
    this.pid = spawn(program, [...words, ...options], { env: this.env, stdio: ["ignore", out, out] }).pid;
    atEnd(() => this.kill());
    await this.ready(look);
    return this;
  }

  /** Where health and metrics are. */
  get adminUrl() {
    return `http://${this.options["--admin-listen"]}`;
  }

  /** What it says of its health, if it answers. */
  async health() {
    return (await fetch(`${this.adminUrl}/livez`)).json();
  }

  /** Resolves when it says that it is ready. */
  async ready(look, within = 60_000) {
    const url = `${this.adminUrl}/readyz`;
    for (const deadline = Date.now() + within; ; await sleep(look)) {
      if ((await fetch(url).catch(() => null))?.ok) return;
      if (!runs(this.pid)) throw new Error(`${this.name} ended; see ${this.log}`);
      if (Date.now() > deadline) throw new Error(`${this.name} is not ready; see ${this.log}`);
    }
  }

  /** kill -9, and its end. */
  kill = () => this.end("SIGKILL");

  async end(signal) {
    if (this.pid === null || !runs(this.pid)) return;
    process.kill(this.pid, signal);
    while (runs(this.pid)) await sleep(5);
  }
}

/**
 * Starts `portcullis up` with `proxies` proxies and a Redis in `dir`, and takes everything over from its supervisor. Returns what
 * up.json says and the processes by name: postgres, redis, control, proxy-0 and so on.
 */
export async function startPlanes({ profile, dir, portBase, proxies }) {
  const binary = portcullis(profile);
  const env = { DATABASE_URL: undefined, REDIS_URL: undefined };
  const options = ["--no-demo", "--detach", "--fresh", "--redis", "--dir", dir, "--port-base", String(portBase)];
  atEnd(() => must(binary, ["down", "--dir", dir]));
  await must(binary, ["up", ...options, "--proxies", String(proxies)], { env, timeout: 300_000 });
  const up = JSON.parse(readFileSync(`${dir}/up.json`, "utf8"));
  const { supervisor, entries } = JSON.parse(readFileSync(`${dir}/processes.json`, "utf8"));
  // One that saw a process end would end the others. What a killed one leaves goes on, and `down` stops it.
  process.kill(supervisor.pid, "SIGKILL");
  const planes = Object.fromEntries(entries.map((entry) => [entry.name, Plane.running(entry)]));
  return { up, planes };
}

/** Where a control plane of the run listens, as options: `at` is its first port. */
export const listening = (at) => ({
  "--listen": `127.0.0.1:${at}`,
  "--enrol-listen": `127.0.0.1:${at + 1}`,
  "--streams-listen": `127.0.0.1:${at + 2}`,
  "--admin-listen": `127.0.0.1:${at + 3}`,
  "--auth-listen": `127.0.0.1:${at + 4}`,
});

/** Which control plane a proxy is connected to, as options. */
export const connectedTo = (at) => ({
  "--enrol-url": `https://127.0.0.1:${at + 1}`,
  "--streams-url": `https://127.0.0.1:${at + 2}`,
  // It has joined.
  "--join-token-file": null,
});
