// The TypeScript SDK as a caller. `node typescript_client.mjs LINE URL MODE CALL [REFUSED]`, LINE `v2` or `v1`, MODE
// `legacy` or (v2 only) `modern`, CALL `{"name":…,"arguments":…}`, REFUSED the name of a tool that is not granted. The
// key is in MCP_KEY. One JSON object on standard output: see peers.mjs.
import { createRequire } from "node:module";

const [line, url, mode, call, refused] = process.argv.slice(2);
const load = createRequire(new URL("../../target/peers/npm/package.json", import.meta.url));
const modules =
  line === "v1"
    ? ["@modelcontextprotocol/sdk/client/index.js", "@modelcontextprotocol/sdk/client/streamableHttp.js"]
    : ["@modelcontextprotocol/client"];
const loaded = await Promise.all(modules.map((name) => import(load.resolve(name))));
const { Client, StreamableHTTPClientTransport } = Object.assign({}, ...loaded);

const key = process.env.MCP_KEY;
const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: key ? { Authorization: `Bearer ${key}` } : {} },
});
const client = new Client(
  { name: "portcullis-typescript-peer", version: "1.0.0" },
  { versionNegotiation: { mode: mode === "modern" ? { pin: "2026-07-28" } : "legacy" } },
);

const texts = (result) => (result.content ?? []).map((block) => block.text ?? "").join("\n");

/** What a caller sees of a refusal: the error's own members, or the result's text. */
async function refusal(name) {
  try {
    const result = await client.callTool({ name, arguments: {} });
    return { kind: "result", is_error: result.isError === true, shown: texts(result) };
  } catch (error) {
    const data = error.data ?? {};
    return { kind: "error", code: error.code, slug: data.code, remedy: data.remedy, shown: String(error) };
  }
}

try {
  await client.connect(transport);
  const { tools } = await client.listTools();
  const result = await client.callTool(JSON.parse(call));
  const answer = {
    protocol: line === "v1" ? transport.protocolVersion : client.getNegotiatedProtocolVersion(),
    tools: tools.map((tool) => tool.name),
    call: { is_error: result.isError === true, text: texts(result) },
    refused: refused ? await refusal(refused) : null,
  };
  await client.close();
  console.log(JSON.stringify(answer));
} catch (error) {
  console.log(JSON.stringify({ failed: String(error?.stack ?? error) }));
  process.exitCode = 1;
}
