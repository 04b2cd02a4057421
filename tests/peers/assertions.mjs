// The verifiers for servers in deploy/verifiers, in front of real MCP servers behind the gateway: what came through it is answered, and
// nothing else.
//   node tests/peers/assertions.mjs [--profile up] [--up .portcullis/up.json]
// A third server, which checks nothing, is told the others' audiences by the gateway: what it is shown is genuine, and was never shown to
// them. Prints a line for each check and ends with `N passed, N failed`.
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { gateway } from "./gateway.mjs";
import { atEnd, freePort, inRoot, runToEnd, serve, sleep } from "./processes.mjs";
import { provision } from "./setup.mjs";

const { values: options } = parseArgs({
  options: { profile: { type: "string", default: "up" }, up: { type: "string" } },
});
const HEADER = "portcullis-assertion";
const count = { passed: 0, failed: 0 };

function check(what, passed, seen) {
  count[passed ? "passed" : "failed"] += 1;
  console.log(`${passed ? "ok  " : "FAIL"} ${what}${passed ? "" : `: ${JSON.stringify(seen)}`}`);
}

/** An MCP server that answers everything and keeps what it is shown. */
async function spy(port) {
  const shown = [];
  const answers = {
    initialize: { protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "spy", version: "1" } },
    "tools/list": { tools: [{ name: "add", inputSchema: { type: "object" } }] },
    "tools/call": { content: [{ type: "text", text: "seen" }] },
  };
  const server = createServer(async (req, res) => {
    let body = "";
    for await (const chunk of req) body += chunk;
    const message = body ? JSON.parse(body) : {};
    if (message.method === "tools/call") shown.push({ assertion: req.headers[HEADER], body });
    const result = answers[message.method];
    if (message.id === undefined) return res.writeHead(202).end();
    const said = result ? { result } : { error: { code: -32601, message: "unknown" } };
    res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ jsonrpc: "2.0", id: message.id, ...said }));
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  atEnd(() => new Promise((resolve) => server.close(resolve).closeAllConnections()));
  return shown;
}

const HEADERS = { "content-type": "application/json", accept: "application/json, text/event-stream" };

/** A call through the gateway, in the era of both servers. */
async function call(url, key, version = "2025-11-25") {
  const headers = { ...HEADERS, authorization: `Bearer ${key}` };
  const send = async (body, more = {}) => {
    const response = await fetch(url, { method: "POST", headers: { ...headers, ...more }, body: JSON.stringify(body) });
    return { session: response.headers.get("mcp-session-id"), text: await response.text() };
  };
  const params = { protocolVersion: version, capabilities: {}, clientInfo: { name: "test", version: "1" } };
  const { session } = await send({ jsonrpc: "2.0", id: 1, method: "initialize", params });
  const later = { "mcp-protocol-version": version, ...(session && { "mcp-session-id": session }) };
  await send({ jsonrpc: "2.0", method: "notifications/initialized" }, later);
  return (await send({ jsonrpc: "2.0", id: 2, method: "tools/call", params: { name: "add", arguments: { a: 2, b: 3 } } }, later)).text;
}

/** The same to the server itself: what it says. */
async function direct(url, { assertion, body }) {
  const response = await fetch(url, { method: "POST", headers: { ...HEADERS, ...(assertion && { [HEADER]: assertion }) }, body });
  const text = await response.text();
  const refused = response.status === 403 ? JSON.parse(text).detail : null;
  return { status: response.status, refused };
}

async function main() {
  const logs = inRoot("target/peers/logs");
  const up = await gateway({ up: options.up, profile: options.profile, dir: inRoot("target/peers/run"), portBase: 7600 });
  const stamp = Date.now().toString(36);
  const [tenant, stranger] = [`asserted-${stamp}`, `stranger-${stamp}`];
  const issuer = `${up.auth_url}/t/${tenant}/assertions`;
  const started = [
    { slug: "python", command: inRoot("target/peers/venv/bin/python"), file: "tests/peers/asserted_server.py" },
    { slug: "typescript", command: inRoot("target/peers/node"), file: "tests/peers/asserted_server.ts" },
  ];
  for (const server of started) {
    server.port = await freePort();
    server.url = `http://127.0.0.1:${server.port}/mcp`;
    const args = [inRoot(server.file), String(server.port), issuer, server.url];
    await serve(server.command, args, { port: server.port, log: `${logs}/asserted-${server.slug}.log` });
  }
  const spied = await freePort();
  const shown = await spy(spied);
  const url = `http://127.0.0.1:${spied}/mcp`;
  const spies = started.map((server) => ({ slug: `spy-${server.slug}`, url, tools: ["add"], assertion: { audience: server.url } }));
  const servers = started.map(({ slug, url }) => ({ slug, url, tools: ["add"], assertion: {} }));
  const place = await provision(up, { tenant, servers: [...servers, ...spies] });
  const theirs = await provision(up, { tenant: stranger, servers: spies });
  /** What the gateway shows the server, of which it has seen nothing yet. */
  const genuine = async (slug, { endpoints, key } = place) => {
    await call(endpoints[`spy-${slug}`], key);
    return shown.pop();
  };

  for (const { slug, url } of started) {
    const through = await call(place.endpoints[slug], place.key);
    check(`${slug}: what comes through the gateway is answered`, /\b5\b/.test(through), through);
    const one = await genuine(slug);
    const refusals = async (what, asked, why) => {
      const answer = await direct(url, asked);
      check(`${slug}: ${what} is refused`, answer.status === 403 && answer.refused === why, answer);
    };
    await refusals("what comes past it", { body: one.body }, "no assertion");
    await refusals("what is none", { ...one, assertion: "a.b" }, "assertion not accepted");
    const [head, claims, signature] = one.assertion.split(".");
    const altered = Buffer.from(claims, "base64url").toString().replace("add", "wipe");
    const forged = [head, Buffer.from(altered).toString("base64url"), signature].join(".");
    await refusals("what was altered", { ...one, assertion: forged }, "assertion not accepted");
    await refusals("another body", { ...one, body: one.body.replace("3", "4") }, "another body");
    const other = started.find((server) => server.slug !== slug);
    await refusals("what is for another server", await genuine(other.slug), "assertion not accepted");
    const foreign = await genuine(slug, theirs);
    await refusals("what another tenant's gateway says of this server", foreign, "unknown key");
    const answer = await direct(url, one);
    check(`${slug}: the same is taken, once`, answer.status !== 403, answer);
    await refusals("what was shown before", one, "shown before");
  }
  const old = [];
  for (const server of started) old.push({ ...server, shown: await genuine(server.slug) });
  await sleep(36_000);
  for (const { slug, url, shown } of old) {
    const answer = await direct(url, shown);
    check(`${slug}: what has expired is refused`, answer.status === 403 && answer.refused === "assertion not accepted", answer);
  }
  console.log(`\n${count.passed} passed, ${count.failed} failed`);
  return count.passed > 0 && count.failed === 0;
}

await runToEnd(main);
