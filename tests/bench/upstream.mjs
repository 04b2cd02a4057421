// The upstream of the figures of survival: `quick` answers at once, `open` with a stream that stays open until it is cut.
//   node upstream.mjs PORT
import { createServer } from "node:http";

const TOOLS = ["quick", "open"].map((name) => ({ name, description: name, inputSchema: { type: "object" } }));
/** Between events of an open stream. */
const EVERY = 1_000;

const results = {
  initialize: { protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "bench", version: "1" } },
  "server/discover": {
    resultType: "complete",
    supportedVersions: ["2025-11-25", "2026-07-28"],
    capabilities: { tools: {} },
    ttlMs: 0,
    cacheScope: "private",
    _meta: { "io.modelcontextprotocol/serverInfo": { name: "bench", version: "1" } },
  },
  "tools/list": { resultType: "complete", tools: TOOLS, ttlMs: 0, cacheScope: "private" },
  "tools/call": { resultType: "complete", content: [{ type: "text", text: "A short answer." }] },
};

createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => answer(request, body, response));
}).listen(Number(process.argv[2]), "127.0.0.1");

function answer(request, body, response) {
  if (request.method !== "POST") return response.writeHead(405).end();
  const { id, method, params } = JSON.parse(body);
  if (id === undefined) return response.writeHead(202).end();
  if (method === "tools/call" && params.name === "open") return stayOpen(params, response);
  const result = results[method];
  const answered = result ? { result } : { error: { code: -32601, message: "Method not found" } };
  const text = JSON.stringify({ jsonrpc: "2.0", id, ...answered });
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) }).end(text);
}

function stayOpen(params, response) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  let progress = 0;
  const send = () => {
    const message = { progressToken: params._meta?.progressToken ?? 1, progress: (progress += 1) };
    response.write(`data: ${JSON.stringify({ jsonrpc: "2.0", method: "notifications/progress", params: message })}\n\n`);
  };
  send();
  const timer = setInterval(send, EVERY);
  response.on("close", () => clearInterval(timer));
}
