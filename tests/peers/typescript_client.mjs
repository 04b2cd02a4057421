// The TypeScript SDK as a caller. `node typescript_client.mjs LINE URL MODE CALL [REFUSED]`, LINE `v2` or `v1`, MODE
// `legacy` or (v2 only) `modern`, CALL `{"name":…,"arguments":…}`, REFUSED the name of a tool that is not granted. Who
// calls is in MCP_IDENTITY, and one JSON object goes to standard output: see peers.mjs.
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";

const [line, url, mode, call, refused] = process.argv.slice(2);
const load = createRequire(new URL("../../target/peers/npm/package.json", import.meta.url));
const modules =
  line === "v1"
    ? ["index.js", "streamableHttp.js", "auth.js", "auth-extensions.js"].map((name) => `@modelcontextprotocol/sdk/client/${name}`)
    : ["@modelcontextprotocol/client"];
const loaded = await Promise.all(modules.map((name) => import(load.resolve(name))));
const sdk = Object.assign({}, ...loaded);
const { Client, StreamableHTTPClientTransport } = sdk;

/** Sends a person to the issuer, and keeps what comes of it. The client registers itself unless the issuer knows it already. */
class Person {
  constructor({ client_id: clientId, redirect_uri: redirectUrl, browser }) {
    this.redirectUrl = redirectUrl;
    this.browser = browser;
    this.known = clientId && { client_id: clientId };
    this.clientMetadata = {
      client_name: "portcullis-typescript-peer",
      redirect_uris: [redirectUrl],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
      application_type: "native",
    };
    this.expected = randomUUID();
  }
  state = () => this.expected;
  clientInformation = () => this.known;
  saveClientInformation = (information) => (this.known = information);
  tokens = () => this.kept;
  saveTokens = (tokens) => (this.kept = tokens);
  codeVerifier = () => this.verifier;
  saveCodeVerifier = (verifier) => (this.verifier = verifier);
  redirectToAuthorization(url) {
    const [command, ...args] = this.browser;
    const sentBack = execFileSync(command, [...args, url.href], { encoding: "utf8" }).trim();
    this.callback = new URL(sentBack).searchParams;
    if (this.callback.get("state") !== this.expected) throw new Error(`another state came back: ${sentBack}`);
  }
}

/** How the transport says who calls. */
function credentials({ kind, key, issuer, client_id: clientId, secret: clientSecret, private_key: privateKey }) {
  switch (kind) {
    case "key":
      return { requestInit: { headers: { Authorization: `Bearer ${key}` } } };
    case "secret":
      return { authProvider: new sdk.ClientCredentialsProvider({ clientId, clientSecret, expectedIssuer: issuer }) };
    case "signed": {
      const options = { clientId, privateKey, algorithm: "ES256", expectedIssuer: issuer };
      return { authProvider: new sdk.PrivateKeyJwtProvider(options) };
    }
    case "person":
      return { authProvider: new Person(identity) };
    default:
      return {};
  }
}

const identity = JSON.parse(process.env.MCP_IDENTITY ?? "{}");
const options = credentials(identity);
const newTransport = () => new StreamableHTTPClientTransport(new URL(url), options);
const newClient = () =>
  new Client(
    { name: "portcullis-typescript-peer", version: "1.0.0" },
    { versionNegotiation: { mode: mode === "modern" ? { pin: "2026-07-28" } : "legacy" } },
  );

/** A connection; when it takes a person, a second one, with what the first was refused for. */
async function connect() {
  const [client, transport] = [newClient(), newTransport()];
  try {
    await client.connect(transport);
    return { client, transport };
  } catch (error) {
    const callback = options.authProvider?.callback;
    if (!(error instanceof sdk.UnauthorizedError) || !callback) throw error;
    await (line === "v1" ? transport.finishAuth(callback.get("code")) : transport.finishAuth(callback));
    const again = { client: newClient(), transport: newTransport() };
    await again.client.connect(again.transport);
    return again;
  }
}

const texts = (result) => (result.content ?? []).map((block) => block.text ?? "").join("\n");

/** What a caller sees of a refusal: the error's own members, or the result's text. */
async function refusal(client, name) {
  try {
    const result = await client.callTool({ name, arguments: {} });
    return { kind: "result", is_error: result.isError === true, shown: texts(result) };
  } catch (error) {
    const data = error.data ?? {};
    return { kind: "error", code: error.code, slug: data.code, remedy: data.remedy, shown: String(error) };
  }
}

try {
  const { client, transport } = await connect();
  const { tools } = await client.listTools();
  const result = await client.callTool(JSON.parse(call));
  const answer = {
    protocol: line === "v1" ? transport.protocolVersion : client.getNegotiatedProtocolVersion(),
    tools: tools.map((tool) => tool.name),
    call: { is_error: result.isError === true, text: texts(result) },
    refused: refused ? await refusal(client, refused) : null,
  };
  await client.close();
  console.log(JSON.stringify(answer));
} catch (error) {
  console.log(JSON.stringify({ failed: String(error?.stack ?? error) }));
  process.exitCode = 1;
}
