// A server of the TypeScript SDK that only its gateway may call: `node asserted_server.ts PORT ISSUER AUDIENCE`, on 127.0.0.1, at /mcp.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { portcullisAssertion } from "../../deploy/verifiers/portcullis_assertion.ts";

// Where `scripts/peers.sh` puts packages.
const packages = createRequire(new URL("../../target/peers/npm/package.json", import.meta.url));
const load = (name: string) => import(pathToFileURL(packages.resolve(name)).href);
const { default: express } = await load("express");
const { McpServer } = await load("@modelcontextprotocol/sdk/server/mcp.js");
const { StreamableHTTPServerTransport } = await load("@modelcontextprotocol/sdk/server/streamableHttp.js");
const { z } = await load("zod");

const [port, issuer, audience] = process.argv.slice(2);
const app = express();
app.use(portcullisAssertion({ issuer, audience }));
app.post("/mcp", async (req: any, res: any) => {
  // Without sessions: each request has a server of its own.
  const server = new McpServer({ name: "portcullis-asserted-peer", version: "1.0.0" });
  const shape = { a: z.number(), b: z.number() };
  server.registerTool("add", { description: "Adds two numbers", inputSchema: shape }, async ({ a, b }: any) => ({
    content: [{ type: "text", text: String(a + b) }],
  }));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  res.on("close", () => server.close());
  await server.connect(transport);
  await transport.handleRequest(req, res, req.body);
});
app.all("/mcp", (_req: any, res: any) => res.status(405).set("allow", "POST").end());
app.listen(Number(port), "127.0.0.1");
