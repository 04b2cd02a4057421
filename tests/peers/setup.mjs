// Sets a tenant up through the admin API, as its administrator would: upstreams, endpoints, a client with a key, roles
// and grants, limits, approved tools. Every path of the API that these tools use is in this file.
import { generateKeyPairSync } from "node:crypto";
import { browse } from "./person.mjs";
import { inRoot, sleep } from "./processes.mjs";

/** A client of the admin API. */
class Api {
  constructor(base, token) {
    this.base = base;
    this.token = token;
  }
  async send(method, path, body, headers = body && { "content-type": "application/json" }) {
    const response = await fetch(this.base + path, {
      method,
      headers: { authorization: `Bearer ${this.token}`, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }
  get = (path) => this.send("GET", path);
  post = (path, body) => this.send("POST", path, body);
  /** A merge patch of whatever is there now. */
  patch = (path, body) => this.send("PATCH", path, body, { "content-type": "application/merge-patch+json", "if-match": "*" });
  put = (path, body) => this.send("PUT", path, body);
  /** Every item of a list, over all its pages. */
  async all(path) {
    const items = [];
    for (let cursor = ""; cursor !== null; ) {
      const separator = path.includes("?") ? "&" : "?";
      const page = await this.get(path + (cursor && `${separator}cursor=${encodeURIComponent(cursor)}`));
      items.push(...page.items);
      cursor = page.next_cursor ?? null;
    }
    return items;
  }
}

/** As much as the API lets one allow: no test meets it. Calls per minute, calls at once; 0 bounds nothing. */
const PLENTY = { per_minute: 10_000_000, burst: 10_000_000, concurrency: 0 };

/**
 * Makes a tenant with one endpoint per server of `servers`, and one client with one key that may use them all. A server
 * is `{slug, url, tools, prompts, uris, completion, tasks}`: what of it is granted. `tools`: names, absent for each that
 * it has; `assertion`: how requests to it are vouched for; `prompts`: names; `uris`: patterns of resources to read and to subscribe to; all else absent for none.
 * `roles`: into how many roles, each with a grant of its own, the tools are dealt. `limits`: of the tenant and of the client,
 * absent for as much as there is. Returns `{tenant, client, key, endpoints: {slug: url}, issuer, base, admin}`.
 */
export async function provision(up, { tenant: slug, servers, roles = 1, limits = PLENTY }) {
  const operator = new Api(up.control_url, up.operator_token);
  const ports = new Set(servers.map(({ url }) => Number(new URL(url).port)));
  const egress = [...ports].map((port) => ({ network: "127.0.0.1/32", port }));
  const tenant = await operator.post("/v1/tenants", { slug, name: slug, egress });
  const base = `/v1/tenants/${tenant.id}`;
  const { token } = await operator.post(`${base}/admin-tokens`, { name: "setup", scopes: ["*"] });
  const admin = new Api(up.control_url, token);

  const client = await admin.post(`${base}/clients`, { name: "caller" });
  const { key } = await admin.post(`${base}/clients/${client.id}/keys`, { name: "first" });
  for (const subject of ["tenant", "every_client"]) await admin.post(`${base}/limits`, { subject, ...limits });

  const endpoints = {};
  for (const server of servers) {
    const named = { slug: server.slug, name: server.slug };
    const upstream = await admin.post(`${base}/upstreams`, { ...named, url: server.url });
    if (server.assertion) await admin.put(`${base}/upstreams/${upstream.id}/assertion?wait=applied`, server.assertion);
    const endpoint = await admin.post(`${base}/endpoints`, named);
    await admin.post(`${base}/endpoints/${endpoint.id}/upstreams`, { upstream_id: upstream.id, prefix: "" });
    await admin.put(`${base}/clients/${client.id}/endpoints/${endpoint.id}`);
    const names = await approveAll(admin, base, upstream.id);
    await grant(admin, base, client.id, upstream.id, { ...server, tools: server.tools ?? names }, roles);
    endpoints[server.slug] = `${up.gateway_url}/${slug}/${server.slug}/mcp`;
  }
  // The last write waits until every proxy has applied it, and with it all before.
  await admin.post(`${base}/roles?wait=applied`, { name: "last" });
  const issuer = `${up.auth_url}/t/${slug}`;
  return { tenant: tenant.id, client: client.id, key, endpoints, issuer, base, admin };
}

/** The ways in which a client of a `place` that `provision` made shows by itself who it is: see peers.mjs. */
export async function machineIdentities({ admin, base, client, key, issuer }) {
  const common = { issuer, client_id: client };
  const { secret } = await admin.post(`${base}/clients/${client}/secrets`, { name: "peer" });
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = { ...pair.publicKey.export({ format: "jwk" }), alg: "ES256", use: "sig" };
  await admin.post(`${base}/clients/${client}/public-keys?wait=applied`, { name: "peer", key: jwk });
  const privateKey = pair.privateKey.export({ format: "pem", type: "pkcs8" });
  return {
    key: { kind: "key", key },
    secret: { kind: "secret", ...common, secret },
    signed: { kind: "signed", ...common, private_key: privateKey },
  };
}

/** Where applications have people sent back to; nobody listens there. */
const CALLBACK = "http://127.0.0.1:53682/callback";
const PASSWORD = "violet tractor 17";

/** A new member of a `place` that `provision` made, who may what its client may: what they type to sign in. */
async function joined({ admin, base }, email) {
  const person = { email, password: PASSWORD };
  const { link } = await admin.post(`${base}/invitations`, { email, admin_role: "user" });
  await browse(link, { ...person, redirect_uri: new URL("/account", link).href });
  const member = (await admin.all(`${base}/members`)).find((member) => member.email === email);
  for (const { id } of await admin.all(`${base}/roles`)) await admin.put(`${base}/members/${member.id}/roles/${id}`, {});
  return person;
}

/** A public client that may use every endpoint of the `place`; its id. */
export async function application({ admin, base }, redirectUri) {
  const settings = { name: `application at ${redirectUri}`, public: true, redirect_uris: [redirectUri] };
  const { id: client } = await admin.post(`${base}/clients`, settings);
  for (const { id } of await admin.all(`${base}/endpoints`)) await admin.put(`${base}/clients/${client}/endpoints/${id}`);
  return client;
}

/**
 * The ways in which an application calls for a member of a `place` that `provision` made: known to the issuer, or registering itself.
 * See peers.mjs; `environment` is for the process that plays the browser. Each is somebody else's, because everybody may sign in a few
 * times a minute.
 */
export async function personIdentities(place) {
  const { admin, base, issuer } = place;
  const endpoints = (await admin.all(`${base}/endpoints`)).map(({ id }) => id);
  await admin.patch(`${base}/registration`, { dynamic: { by: "open", endpoint_ids: endpoints } });
  await registrationIsKnown(issuer);

  const browser = [process.execPath, inRoot("tests/peers/person.mjs")];
  const identity = async (email, client) => {
    const person = { ...(await joined(place, email)), redirect_uri: CALLBACK };
    const environment = { MCP_PERSON: JSON.stringify(person) };
    return { kind: "person", issuer, redirect_uri: CALLBACK, browser, ...client, environment };
  };
  return {
    known: await identity("ann@example.com", { client_id: await application(place, CALLBACK) }),
    registered: await identity("bob@example.com", {}),
  };
}

/** What an issuer says of itself is kept for moments. */
async function registrationIsKnown(issuer) {
  const url = issuer.replace("/t/", "/.well-known/oauth-authorization-server/t/");
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await sleep(100)) {
    if ((await (await fetch(url)).json()).registration_endpoint) return;
  }
  throw new Error("the issuer does not say where clients register");
}

/** Tools that one review may decide about. */
const REVIEWED_AT_ONCE = 200;

/** Has a proxy list the upstream's tools and approves each; returns their names. */
async function approveAll(admin, base, upstream) {
  let command = await admin.post(`${base}/upstreams/${upstream}/discover`);
  for (const deadline = Date.now() + 30_000; command.finished_at === null; await sleep(50)) {
    if (Date.now() > deadline) throw new Error("no proxy listed the upstream's tools within 30 s");
    command = await admin.get(`${base}/commands/${command.id}`);
  }
  if (command.error_code !== null) throw new Error(`a proxy could not list the upstream's tools: ${command.error_code}`);
  const tools = await admin.all(`${base}/tools?upstream_id=${upstream}`);
  const decide = ({ id, seen_digest: digest }) => ({ tool_id: id, verdict: "approve", class: "read", digest });
  for (let at = 0; at < tools.length; at += REVIEWED_AT_ONCE) {
    await admin.post(`${base}/tools/review`, { decisions: tools.slice(at, at + REVIEWED_AT_ONCE).map(decide) });
  }
  return tools.map((tool) => tool.name);
}

/** Grants what `server` says; its tools dealt over `roles` roles that the client all has, the rest to the first. */
async function grant(admin, base, client, upstream, server, roles) {
  const { tools, prompts, uris, completion, tasks } = server;
  const rest = [
    prompts && { action: "get_prompt", upstream, prompts: { names: prompts } },
    uris && { action: "read_resource", upstream, uris },
    uris && { action: "subscribe", upstream, uris },
    completion && { action: "complete", upstream },
    tasks && { action: "use_tasks", upstream },
  ];
  for (let index = 0; index < roles; index++) {
    const role = await admin.post(`${base}/roles`, { name: `${upstream}-${index}` });
    await admin.put(`${base}/clients/${client}/roles/${role.id}`);
    const names = tools.filter((_, at) => at % roles === index);
    const actions = [{ action: "call_tool", upstream, tools: { names } }];
    if (index === 0) actions.push(...rest.filter(Boolean));
    await admin.post(`${base}/grants`, { subject: { role: role.id }, effect: "permit", actions });
  }
}
