// Callers whose access is about to be taken away: warm connections under load and an open stream at each proxy. When was the last
// call sent that any proxy admitted?
import { Agent, request as send } from "node:http";
import { sleep } from "../peers/processes.mjs";

const MODERN = "2026-07-28";
/** Connections of each proxy. */
const CONNECTIONS = 2;
/** Between the calls of a connection: while it is admitted, and once it is refused. */
const PAUSE = 3;
const PAUSE_REFUSED = 25;
/** Refusals in a row, of every connection, after which nothing more is expected. */
const ENOUGH = 8;

let addresses = 0;
/** An address of this machine that nobody has used: failed authentications are counted by address. */
const nextAddress = () => {
  addresses += 1;
  return `127.${10 + (addresses >> 16)}.${(addresses >> 8) & 255}.${1 + (addresses & 255) % 254}`;
};

/** One call of a tool. Resolves with the response's head. */
function call({ url, key, tool, agent, localAddress }) {
  const meta = { "io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}, progressToken: 1 };
  const body = JSON.stringify({
    jsonrpc: "2.0",
    id: 1,
    method: "tools/call",
    params: { name: tool, arguments: {}, _meta: meta },
  });
  const headers = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    accept: "application/json, text/event-stream",
    authorization: `Bearer ${key}`,
    "mcp-protocol-version": MODERN,
    "mcp-method": "tools/call",
    "mcp-name": tool,
  };
  return new Promise((resolve, reject) => {
    const request = send(url, { method: "POST", agent, localAddress, headers }, resolve);
    request.on("error", reject);
    request.end(body);
  });
}

const refusal = (response) => response.headers["portcullis-refusal"] ?? (response.statusCode === 200 ? null : `${response.statusCode}`);

const end = (response) =>
  new Promise((resolve) => {
    response.on("end", resolve).on("close", resolve).on("error", resolve);
    response.resume();
  });

/** A connection that calls again and again. */
class Connection {
  constructor(at) {
    this.at = at;
    this.agent = new Agent({ keepAlive: true, maxSockets: 1 });
    Object.assign(this, { admitted: 0, lastAdmitted: 0, refused: 0, codes: new Set(), failed: [], stopped: false });
    this.running = this.run();
  }

  async run() {
    while (!this.stopped) {
      const sent = performance.now();
      try {
        const response = await call({ ...this.at, tool: "quick", agent: this.agent });
        await end(response);
        const code = refusal(response);
        if (code === null) {
          Object.assign(this, { admitted: this.admitted + 1, lastAdmitted: sent, refused: 0 });
        } else {
          this.refused += 1;
          this.codes.add(code);
        }
      } catch (error) {
        this.failed.push(error.message);
      }
      await sleep(this.refused > 0 ? PAUSE_REFUSED : PAUSE);
    }
    this.agent.destroy();
  }
}

/** A stream that is open; `ended` is when it was cut, null while it is not. */
class OpenStream {
  constructor(at) {
    this.ended = null;
    this.agent = new Agent();
    this.running = call({ ...at, tool: "open", agent: this.agent }).then(async (response) => {
      if (refusal(response) !== null) throw new Error(`the stream was refused: ${refusal(response)}`);
      this.open = true;
      await end(response);
      this.ended = performance.now();
    });
    this.running.catch((error) => (this.failure = error));
  }
}

async function until(holds, within, what) {
  for (const deadline = performance.now() + within; !holds(); await sleep(2)) {
    if (performance.now() > deadline) throw new Error(`not within ${within} ms: ${what()}`);
  }
}

/**
 * Has the key's owner call at every url, does `act`, which returns the moment from which the time is taken, and waits until each
 * connection was refused often enough and `settle` ms have passed. Returns milliseconds until the last admitted call was sent
 * and until the last stream ended, and the codes of the refusals.
 */
export async function lastRefusal({ urls, key, act, settle }) {
  const localAddress = nextAddress();
  const at = urls.map((url) => ({ url, key, localAddress }));
  const connections = at.flatMap((one) => Array.from({ length: CONNECTIONS }, () => new Connection(one)));
  const streams = at.map((one) => new OpenStream(one));
  const state = () => JSON.stringify({
    admitted: connections.map(({ admitted }) => admitted),
    codes: connections.map(({ codes }) => [...codes]),
    streams: streams.map(({ open, ended, failure }) => ({ open, ended, failure: failure?.message })),
  });
  try {
    // Warm: several calls on each connection; open: the first bytes of each stream have come.
    await until(() => connections.every(({ admitted }) => admitted >= 5) && streams.every(({ open }) => open), 20_000, state);
    for (const connection of connections) {
      if (connection.refused > 0 || connection.failed.length > 0) throw new Error(`refused too early: ${state()}`);
    }
    const zero = await act();
    const over = () => performance.now() > zero + settle && connections.every(({ refused }) => refused >= ENOUGH);
    await until(() => over() && streams.every(({ ended }) => ended !== null), settle + 20_000, state);
    const last = Math.max(...connections.map(({ lastAdmitted }) => lastAdmitted));
    const cut = Math.max(...streams.map(({ ended }) => ended));
    const codes = [...new Set(connections.flatMap(({ codes }) => [...codes]))];
    return { call: Math.max(0, last - zero), cut: Math.max(0, cut - zero), codes };
  } finally {
    for (const connection of connections) connection.stopped = true;
    for (const { agent } of streams) agent.destroy();
    await Promise.all(connections.map(({ running }) => running));
  }
}

/** Milliseconds from `zero` until a key was admitted at every url for the first time. */
export async function firstAdmission({ urls, key, zero }) {
  const localAddress = nextAddress();
  const agent = new Agent({ keepAlive: true });
  const admitted = urls.map(async (url) => {
    for (const deadline = performance.now() + 20_000; ; await sleep(4)) {
      const sent = performance.now();
      const response = await call({ url, key, tool: "quick", agent, localAddress });
      await end(response);
      if (refusal(response) === null) return sent;
      if (performance.now() > deadline) throw new Error(`not admitted within 20 s: ${refusal(response)}`);
    }
  });
  const moments = await Promise.all(admitted).finally(() => agent.destroy());
  return Math.max(0, Math.max(...moments) - zero);
}
