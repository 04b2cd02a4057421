// The peers: which servers and which SDK clients there are, and how each is started.
//
// A client gets URL, mode, a call and the name of a tool it is not granted; in MCP_IDENTITY who it is, one of
//   {"kind": "key", "key"}
//   {"kind": "secret", "issuer", "client_id", "secret"}          a token by client credentials, found by discovery alone
//   {"kind": "signed", "issuer", "client_id", "private_key"}     the same, with an assertion by a P-256 key in PKCS #8, PEM
//   {"kind": "person", "issuer", "client_id"?, "redirect_uri", "browser": command}
//       a token by authorization code; the client registers itself when it has no id; the command gets the issuer's URL as its
//       last argument, and prints the URL that it was sent back to: see person.mjs
// or nothing; and prints one JSON object:
//   {"protocol": revision, "tools": [names], "call": {"is_error", "text"},
//    "refused": {"kind": "error" | "result", "code", "slug", "remedy", "shown"} | null}   or   {"failed": why}
import { mkdirSync } from "node:fs";
import { freePort, inRoot, run, serve } from "./processes.mjs";

const npm = (path) => inRoot("target/peers/npm/node_modules", path);
const python = inRoot("target/peers/venv/bin/python");
export const node = inRoot("target/peers/node");
const built = (profile, name) => inRoot("target", profile === "dev" ? "debug" : profile, name);

/** Each server: how it starts, a tool to grant with a call and its answer, a tool to withhold, the eras it speaks. */
export const servers = {
  everything: {
    granted: "echo",
    call: { name: "echo", arguments: { message: "portcullis" } },
    answer: /portcullis/,
    withheld: "get-env",
    eras: ["legacy"],
    start: (port, log) =>
      serve(
        node,
        [
          "-r",
          inRoot("tests/peers/loopback.cjs"),
          npm("@modelcontextprotocol/server-everything/dist/index.js"),
          "streamableHttp",
        ],
        { port, log, env: { PORT: String(port) } },
      ),
  },
  fastmcp: {
    granted: "add",
    call: { name: "add", arguments: { a: 2, b: 3 } },
    answer: /^5$/,
    withheld: "wipe",
    eras: ["legacy", "modern"],
    start: (port, log) => serve(python, [inRoot("tests/peers/fastmcp_server.py"), String(port)], { port, log }),
  },
  rmcp: {
    granted: "greet",
    call: { name: "greet", arguments: { name: "Portcullis" } },
    answer: /^Hello, Portcullis!$/,
    withheld: "test_simple_text",
    eras: ["legacy", "modern"],
    start: (port, log, profile) =>
      serve(built(profile, "portcullis-conformance-upstream"), [String(port)], { port, log }),
  },
};

/** Each client: its modes, and its command. */
export const clients = {
  typescript: { modes: ["legacy", "modern"], command: () => [node, inRoot("tests/peers/typescript_client.mjs"), "v2"] },
  "typescript-v1": { modes: ["legacy"], command: () => [node, inRoot("tests/peers/typescript_client.mjs"), "v1"] },
  python: { modes: ["legacy", "modern", "auto"], command: () => [python, inRoot("tests/peers/python_client.py")] },
  rmcp: { modes: ["legacy", "modern"], command: (profile) => [built(profile, "portcullis-rmcp-peer")] },
};

/** Starts `name`; returns its URL. */
export async function startServer(name, { logs, profile }) {
  mkdirSync(logs, { recursive: true });
  const port = await freePort();
  await servers[name].start(port, `${logs}/${name}.log`, profile);
  return `http://127.0.0.1:${port}/mcp`;
}

/** Runs one client against `url`; its JSON object. */
export async function callWith(client, mode, { url, identity: { environment, ...identity } = {}, call, withheld, profile }) {
  const [command, ...args] = clients[client].command(profile);
  const all = [...args, url, mode, JSON.stringify(call), ...(withheld ? [withheld] : [])];
  const ended = await run(command, all, { env: { MCP_IDENTITY: JSON.stringify(identity), ...environment }, timeout: 60_000 });
  const line = ended.stdout.trim().split("\n").at(-1);
  try {
    return JSON.parse(line);
  } catch {
    return { failed: `no answer (${ended.signal ?? ended.code}): ${ended.stdout}${ended.stderr}`.slice(0, 2000) };
  }
}
