// How soon a change is enforced by three proxies, and how soon the last call of what was killed or revoked is refused.
// REST is at one control plane and the proxies are connected to another, so that nothing is faster than it is in a fleet.
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { freePort, inRoot, must, serve, sleep } from "../peers/processes.mjs";
import { provision } from "../peers/setup.mjs";
import { portcullis } from "./places.mjs";
import { connectedTo, listening, startPlanes } from "./planes.mjs";
import { summary } from "./samples.mjs";
import { firstAdmission, lastRefusal } from "./victims.mjs";

const PROXIES = 3;
const PORT_BASE = 8200;
const FAR = PORT_BASE + 10;
/** How long a try goes on after the answer at least: longer than the bar, so that a call which comes too late is seen. */
const SETTLE = { notified: 500, polled: 1_500, redis: 1_500, order: 1_500 };
/** What tries kill, in turn. */
const LEVELS = ["tenant", "endpoint", "client", "key"];

/** An installation with what its callers use. */
class Installation {
  static async start({ out, profile }) {
    const dir = `${out}/survival`;
    const { up, planes } = await startPlanes({ profile, dir, portBase: PORT_BASE, proxies: PROXIES });
    const self = Object.assign(new Installation(), { up, planes, dir, profile });
    const port = await freePort();
    await serve(process.execPath, [inRoot("tests/bench/upstream.mjs"), String(port)], { port, log: `${out}/upstream.log` });
    await self.rearrange();
    const tenant = `survival-${Date.now().toString(36)}`;
    const made = await provision(up, { tenant, servers: [{ slug: "calls", url: `http://127.0.0.1:${port}/mcp` }] });
    self.base = `/v1/tenants/${made.tenant}`;
    self.tenant = made.tenant;
    self.admin = made.admin;
    self.key = made.key;
    self.urls = Array.from({ length: PROXIES }, (_, at) => made.endpoints.calls.replace(/:\d+/, `:${PORT_BASE + 20 + 2 * at}`));
    self.endpoint = (await self.admin.get(`${self.base}/endpoints`)).items[0].id;
    self.upstream = (await self.admin.get(`${self.base}/upstreams`)).items[0].id;
    return self;
  }

  /** The second control plane, with the proxies connected to it; they follow offline orders. */
  async rearrange() {
    this.orderKey = `${this.dir}/order`;
    if (!existsSync(this.orderKey)) {
      const files = ["--private", this.orderKey, "--public", `${this.orderKey}.pub`];
      await must(portcullis(this.profile), ["kill", "keygen", ...files]);
    }
    this.far = await this.planes.control.like("control-far", listening(FAR)).start();
    const options = { ...connectedTo(FAR), "--kill-order-key-file": `${this.orderKey}.pub` };
    this.proxies = [];
    for (let at = 0; at < PROXIES; at++) {
      const former = this.planes[`proxy-${at}`];
      await former.end("SIGTERM");
      this.proxies.push(await former.like(former.name, options).start());
    }
    await this.connected("connected");
  }

  /** Has the far control plane go on with other options. */
  async restartFar(options) {
    await this.far.end("SIGTERM");
    this.far = await this.planes.control.like("control-far", { ...listening(FAR), ...options }).start();
    await this.connected("connected");
  }

  async connected(state) {
    for (const proxy of this.proxies) {
      for (const deadline = Date.now() + 90_000; (await proxy.health()).control !== state; await sleep(50)) {
        if (Date.now() > deadline) throw new Error(`${proxy.name} is not ${state}`);
      }
    }
  }

  /** A request of the admin API: its answer, and the moment at which its head had come. */
  async timed(method, path, body) {
    const headers = { authorization: `Bearer ${this.admin.token}`, "content-type": "application/json" };
    const response = await fetch(this.admin.base + path, { method, headers, body: body && JSON.stringify(body) });
    const at = performance.now();
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return { at, answer: text ? JSON.parse(text) : null };
  }

  /** A client of its own that may call, with a key. */
  async victim(name) {
    const client = await this.admin.post(`${this.base}/clients`, { name });
    await this.admin.put(`${this.base}/clients/${client.id}/endpoints/${this.endpoint}`);
    const actions = [{ action: "call_tool", upstream: this.upstream, tools: { names: ["quick", "open"] } }];
    await this.admin.post(`${this.base}/grants`, { subject: { client: client.id }, effect: "permit", actions });
    const made = await this.admin.post(`${this.base}/clients/${client.id}/keys?wait=applied`, { name });
    return { client: client.id, key: made.key, id: made.id };
  }
}

/** Keys that are made, and are used at all proxies as soon as they may be. */
async function applied(site, tries) {
  const client = (await site.victim(`applied-${Date.now()}`)).client;
  const samples = [];
  for (let at = 0; at < tries; at++) {
    const { at: zero, answer } = await site.timed("POST", `${site.base}/clients/${client}/keys`, { name: `key ${at}` });
    samples.push(await firstAdmission({ urls: site.urls, key: answer.key, zero }));
    await site.admin.send("DELETE", `${site.base}/clients/${client}/keys/${answer.id}`);
  }
  return summary(samples);
}

/** Both parts of the tries of one kind: calls and streams, and the later of both. */
function parts(samples) {
  return {
    both: summary(samples.map(({ call, cut }) => Math.max(call, cut))),
    call: summary(samples.map(({ call }) => call)),
    stream: summary(samples.map(({ cut }) => cut)),
    codes: [...new Set(samples.flatMap(({ codes }) => codes))],
  };
}

/** Kills at changing levels, each lifted again. */
async function kills(site, tries, settle) {
  const victim = await site.victim(`killed-${Date.now()}`);
  const targets = { endpoint: site.endpoint, client: victim.client, key: victim.id };
  const samples = [];
  for (let at = 0; at < tries; at++) {
    const level = LEVELS[at % LEVELS.length];
    let kill;
    const act = async () => {
      const order = { level, reason: "measuring", ...(targets[level] && { target: targets[level] }) };
      const { at: zero, answer } = await site.timed("POST", `${site.base}/kills`, order);
      kill = answer;
      return zero;
    };
    samples.push(await lastRefusal({ urls: site.urls, key: victim.key, act, settle }));
    const lift = { reason: "measured", epoch: kill.epoch };
    await site.admin.post(`${site.base}/kills/${kill.id}/lift?wait=applied`, lift);
  }
  return parts(samples);
}

/** Keys that are revoked. */
async function revocations(site, tries, settle) {
  const { client } = await site.victim(`revoked-${Date.now()}`);
  const samples = [];
  for (let at = 0; at < tries; at++) {
    const made = await site.admin.post(`${site.base}/clients/${client}/keys?wait=applied`, { name: `key ${at}` });
    const act = async () => (await site.timed("DELETE", `${site.base}/clients/${client}/keys/${made.id}`)).at;
    samples.push(await lastRefusal({ urls: site.urls, key: made.key, act, settle }));
  }
  return parts(samples);
}

/** The proxies' control plane is dead: kills ordered at the other one reach them through Redis. */
async function killsThroughRedis(site, victims) {
  await site.far.kill();
  await site.connected("unreachable");
  const samples = [];
  for (const { client, key } of victims) {
    const order = { level: "client", target: client, reason: "measuring" };
    const act = async () => (await site.timed("POST", `${site.base}/kills`, order)).at;
    samples.push(await lastRefusal({ urls: site.urls, key, act, settle: SETTLE.redis }));
  }
  return parts(samples);
}

/**
 * Everything is dead but the proxies: orders that were signed before are handed to each, in turn at its admin listener and as a
 * file. The time is taken from the moment of handing over, which is before any of them has it.
 */
async function killsByOrder(site, victims) {
  const orders = [];
  for (const [at, { client }] of victims.entries()) {
    const out = `${site.dir}/order-${at}`;
    const where = ["--offline", "--key", site.orderKey, "--out", out, "--tenant", site.tenant];
    await must(portcullis(site.profile), ["kill", "client", client, ...where]);
    orders.push(out);
  }
  for (const name of ["control", "redis", "postgres"]) await site.planes[name].end(name === "postgres" ? "SIGQUIT" : "SIGKILL");
  const samples = [];
  for (const [at, { key }] of victims.entries()) {
    const act = () => handOver(site, orders[at], at % 2 === 0);
    samples.push(await lastRefusal({ urls: site.urls, key, act, settle: SETTLE.order }));
  }
  return parts(samples);
}

async function handOver(site, order, byListener) {
  if (!byListener) {
    const places = site.proxies.map((proxy) => `${proxy.options["--state-dir"]}/kill-orders/${order.split("/").at(-1)}`);
    for (const place of places) copyFileSync(order, `${place}.new`);
    const zero = performance.now();
    for (const place of places) renameSync(`${place}.new`, place);
    return zero;
  }
  const body = readFileSync(order);
  const zero = performance.now();
  const answers = await Promise.all(site.proxies.map((proxy) => fetch(`${proxy.adminUrl}/kill-orders`, { method: "POST", body })));
  for (const answer of answers) {
    if (!answer.ok) throw new Error(`an order was refused: ${answer.status} ${await answer.text()}`);
  }
  return zero;
}

/** All of it. `tries` of each kind, twice as many for what is applied. */
export async function survival({ out, profile, tries }) {
  rmSync(`${out}/survival`, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const site = await Installation.start({ out, profile });
  const tell = (name, found) => {
    console.log(`${name}: ${JSON.stringify(found.both ?? found)}`);
    return found;
  };
  const rows = {};
  rows.applied = tell("applied", await applied(site, 2 * tries));
  rows.kill = tell("kill", await kills(site, tries, SETTLE.notified));
  rows.revoke = tell("revoke", await revocations(site, tries, SETTLE.notified));
  await site.restartFar({ "--poll-only": true });
  rows.applied_without_notify = tell("applied without NOTIFY", await applied(site, tries));
  rows.kill_without_notify = tell("kill without NOTIFY", await kills(site, tries, SETTLE.polled));
  rows.revoke_without_notify = tell("revoke without NOTIFY", await revocations(site, tries, SETTLE.polled));
  await site.restartFar({});
  const victims = [];
  for (let at = 0; at < 2 * tries; at++) victims.push(await site.victim(`victim-${at}`));
  rows.kill_redis = tell("kill through Redis", await killsThroughRedis(site, victims.slice(0, tries)));
  rows.kill_order = tell("kill by order", await killsByOrder(site, victims.slice(tries)));
  const result = { applied_p50_ms: rows.applied.p50_ms, applied_p99_ms: rows.applied.p99_ms };
  result.applied_p99_ms_without_notify = rows.applied_without_notify.p99_ms;
  for (const name of ["kill", "revoke", "kill_redis", "kill_order"]) {
    result[`${name}_last_refusal_p99_ms`] = rows[name].both.p99_ms;
    const polled = rows[`${name}_without_notify`];
    if (polled) result[`${name}_last_refusal_p99_ms_without_notify`] = polled.both.p99_ms;
  }
  return { result, rows };
}
