// The requests of the benchmark: `tools/call` in the stateless revision, or in a session of the one before.
import { readFileSync, writeFileSync } from "node:fs";

const MODERN = "2026-07-28";
const LEGACY = "2025-11-25";
const BOTH = "application/json, text/event-stream";

/** A `tools/call` body of exactly `bytes`, the rest being one long argument. */
function body(bytes, tool, session) {
  const meta = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const build = (query) => {
    const params = { name: tool, arguments: { query, limit: 10 }, ...(session ? {} : { _meta: meta }) };
    return JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
  };
  const words = "what a caller might ask about ";
  const missing = bytes - build("").length;
  if (missing < 0) throw new Error(`a call does not fit into ${bytes} bytes`);
  return build(words.repeat(Math.ceil(missing / words.length)).slice(0, missing));
}

/** Writes headers and body of a row into files; the same for every side but for the session. */
export function request(row, { side, tool, session, key, folder }) {
  const headers = [
    "Content-Type: application/json",
    `Accept: ${BOTH}`,
    `Authorization: Bearer ${key}`,
    ...(row.session
      ? [`MCP-Protocol-Version: ${LEGACY}`, `Mcp-Session-Id: ${session}`]
      : [`MCP-Protocol-Version: ${MODERN}`, "Mcp-Method: tools/call", `Mcp-Name: ${tool}`]),
  ];
  const files = { headers: `${folder}/${row.name}.${side.name}.headers`, body: `${folder}/${row.name}.body` };
  // The headers hold the key of a tenant that lives as long as this run.
  writeFileSync(files.headers, `${headers.join("\n")}\n`, { mode: 0o600 });
  writeFileSync(files.body, body(row.bytes, tool, row.session));
  return files;
}

const lines = (files) => readFileSync(files.headers, "utf8").trim().split("\n");
const split = (line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()];

/** Headers of a request that was written, by name. */
export const headersOf = (files) => Object.fromEntries(lines(files).map(split));

/** One call, read in full: it must have the result that every call is taken to have. */
export async function verify(side, files) {
  const response = await fetch(side.url, { method: "POST", headers: headersOf(files), body: readFileSync(files.body) });
  const text = await response.text();
  if (response.status !== 200 || !JSON.parse(text).result?.content?.[0]?.text) {
    throw new Error(`${side.name}: ${response.status} ${text}`);
  }
}

/** Opens a session of the revision that has sessions; its id. */
export async function openSession(side) {
  const headers = { "Content-Type": "application/json", Accept: BOTH };
  if (side.key) headers.Authorization = `Bearer ${side.key}`;
  const params = { protocolVersion: LEGACY, capabilities: {}, clientInfo: { name: "bench", version: "1" } };
  const post = (message, more) =>
    fetch(side.url, {
      method: "POST",
      headers: { ...headers, ...more },
      body: JSON.stringify({ jsonrpc: "2.0", ...message }),
    });
  const opened = await post({ id: 0, method: "initialize", params });
  const session = opened.headers.get("mcp-session-id");
  if (!session) throw new Error(`${side.name}: no session: ${opened.status} ${await opened.text()}`);
  await opened.text();
  await post({ method: "notifications/initialized" }, { "Mcp-Session-Id": session, "MCP-Protocol-Version": LEGACY });
  return session;
}

/** The same request as text for bench-load: header lines, an empty line, the body. */
export const asText = (files) => `${lines(files).join("\n")}\n\n${readFileSync(files.body, "utf8")}`;
