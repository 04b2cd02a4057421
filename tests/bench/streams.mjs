// Idle streams: what one costs in memory while it is open, and how much of that comes back when it is closed.
import { connect } from "node:net";
import { sleep } from "../peers/processes.mjs";
import { provision } from "../peers/setup.mjs";
import { memoryMib, pin, tree } from "./machine.mjs";
import { startPlanes } from "./planes.mjs";
import { LOAD_CORE, PROXY_CORE, proxySide, startEcho } from "./sides.mjs";

const PORT_BASE = 8550;
const FEW = 1_000;
const MANY = 5_000;
/** Streams that are being opened at once. */
const AT_ONCE = 50;
/** Connections from one address are bounded, so callers have several. */
const ADDRESSES = 10;
/** For memory to be given back, at most. */
const PATIENCE = 60_000;

const BOTH = "Accept: application/json, text/event-stream";
const INITIALIZE = JSON.stringify({
  jsonrpc: "2.0",
  id: 0,
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "bench", version: "1" } },
});

/** The next head that comes on a socket, and the body that its length says. */
function head(socket) {
  return new Promise((resolve, reject) => {
    let text = "";
    const take = (chunk) => {
      text += chunk;
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (text.length < end + 4 + length) return;
      socket.off("data", take);
      resolve(text);
    };
    socket.on("data", take).once("error", reject).once("close", () => reject(new Error(`closed after ${text}`)));
  });
}

/** Opens a session on a connection of its own, and a stream in it. */
async function openStream(side, key, at) {
  const socket = connect({ host: "127.0.0.1", port: side.port, localAddress: `127.0.0.${10 + (at % ADDRESSES)}` });
  const path = new URL(side.url).pathname;
  const common = `Host: 127.0.0.1:${side.port}\r\nAuthorization: Bearer ${key}\r\nMCP-Protocol-Version: 2025-11-25\r\n`;
  socket.write(
    `POST ${path} HTTP/1.1\r\n${common}${BOTH}\r\nContent-Type: application/json\r\nContent-Length: ${INITIALIZE.length}\r\n\r\n${INITIALIZE}`,
  );
  const session = /mcp-session-id: (\S+)/i.exec(await head(socket))?.[1];
  if (!session) throw new Error("no session");
  socket.write(`GET ${path} HTTP/1.1\r\n${common}Accept: text/event-stream\r\nMcp-Session-Id: ${session}\r\n\r\n`);
  const answer = await head(socket);
  if (!answer.startsWith("HTTP/1.1 200") || !/text\/event-stream/i.test(answer)) throw new Error(`no stream: ${answer}`);
  return socket;
}

export async function streams({ out, profile }) {
  const echo = await startEcho(out, profile === "dev" ? profile : undefined);
  const { up, planes } = await startPlanes({ profile, dir: `${out}/streams`, portBase: PORT_BASE, proxies: 1 });
  const made = await provision(up, { tenant: `streams-${Date.now().toString(36)}`, servers: [{ slug: "echo", url: echo.url }] });
  for (const name of ["postgres", "redis", "control"]) await pin(tree(planes[name].pid), LOAD_CORE);
  const former = planes["proxy-0"];
  await former.end("SIGTERM");
  const proxy = await former.like("proxy-0", { "--join-token-file": null }, { REDIS_URL: null, PORTCULLIS_WORKERS: "1" }).start();
  await pin([proxy.pid], PROXY_CORE);
  const side = proxySide("proxy", proxy, made.endpoints.echo);
  await sleep(5_000);
  const resident = () => memoryMib(proxy.pid).now;
  const idle = resident();
  const open = [];
  const reach = async (number) => {
    while (open.length < number) {
      const batch = Array.from({ length: Math.min(AT_ONCE, number - open.length) }, (_, at) => openStream(side, made.key, open.length + at));
      open.push(...(await Promise.all(batch)));
    }
    await sleep(2_000);
    const ended = open.filter((socket) => socket.destroyed || socket.readableEnded).length;
    if (ended > 0) throw new Error(`${ended} of ${number} streams ended`);
    return resident();
  };
  const atFew = await reach(FEW);
  const atMany = await reach(MANY);
  for (const socket of open) socket.removeAllListeners("close").on("error", () => {}).destroy();
  // What comes back comes within seconds, or not at all.
  let least = Infinity;
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await sleep(1_000)) least = Math.min(least, resident());
  const digits = (value, many = 1) => Number(value.toFixed(many));
  const result = {
    kib_per_idle_stream: digits(((atMany - atFew) / (MANY - FEW)) * 1_024, 2),
    stream_memory_returned: digits((atMany - least) / (atMany - idle), 3),
  };
  const mib = { idle: digits(idle), at_1000: digits(atFew), at_5000: digits(atMany), after_close: digits(least) };
  return { result, mib };
}
