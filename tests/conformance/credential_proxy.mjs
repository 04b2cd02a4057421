// The suite cannot send a credential, so this stands between it and the gateway: adds the Authorization header, rewrites
// the path, and leaves all else as it is, the Host header above all: the DNS rebinding scenario is about that.
import http from "node:http";
import { atEnd } from "../peers/processes.mjs";

/** Listens on a port of 127.0.0.1 and forwards every request to `endpoint` with `key`; its URL. */
export async function credentialProxy(endpoint, key) {
  const target = new URL(endpoint);
  // Each request on a connection of its own: the suite opens and drops streams, and none may wait for another.
  const server = http.createServer((request, response) => {
    const onward = http.request({
      agent: false,
      host: target.hostname,
      port: target.port,
      path: target.pathname,
      method: request.method,
      headers: withCredential(request.rawHeaders, key),
    });
    onward.on("response", (answer) => {
      response.writeHead(answer.statusCode, answer.statusMessage, answer.rawHeaders);
      response.flushHeaders();
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    onward.on("error", () => {
      if (!response.headersSent) response.writeHead(502);
      response.end();
    });
    // The end of either side is the end of the other: a dropped stream is how a client cancels.
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(async () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/mcp`;
}

/** The caller's headers, spelled and ordered as they came, and the credential. */
function withCredential(rawHeaders, key) {
  const headers = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at].toLowerCase();
    if (name !== "authorization" && name !== "connection") headers.push(rawHeaders[at], rawHeaders[at + 1]);
  }
  headers.push("Authorization", `Bearer ${key}`, "Connection", "close");
  return headers;
}
