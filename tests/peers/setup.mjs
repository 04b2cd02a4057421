// Sets a tenant up through the admin API, as its administrator would: upstreams, endpoints, a client with a key, roles
// and grants, limits, approved tools. Every path of the API that these tools use is in this file.
import { sleep } from "./processes.mjs";

/** A client of the admin API. */
class Api {
  constructor(base, token) {
    this.base = base;
    this.token = token;
  }
  async send(method, path, body) {
    const response = await fetch(this.base + path, {
      method,
      headers: { authorization: `Bearer ${this.token}`, ...(body && { "content-type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }
  get = (path) => this.send("GET", path);
  post = (path, body) => this.send("POST", path, body);
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
 * Makes a tenant with one endpoint per server of `servers` (`{slug, url, tools}`; `tools`: names of granted tools, or
 * absent for everything the server has), and one client with one key that may use them all. `roles`: into how many
 * roles, each with a grant of its own, the granted tools are dealt. Returns `{tenant, key, endpoints: {slug: url}}`.
 */
export async function provision(up, { tenant: slug, servers, roles = 1 }) {
  const operator = new Api(up.control_url, up.operator_token);
  const egress = servers.map(({ url }) => ({ network: "127.0.0.1/32", port: Number(new URL(url).port) }));
  const tenant = await operator.post("/v1/tenants", { slug, name: slug, egress });
  const base = `/v1/tenants/${tenant.id}`;
  const { token } = await operator.post(`${base}/admin-tokens`, { name: "setup", scopes: ["*"] });
  const admin = new Api(up.control_url, token);

  const client = await admin.post(`${base}/clients`, { name: "caller" });
  const { key } = await admin.post(`${base}/clients/${client.id}/keys`, { name: "first" });
  for (const subject of ["tenant", "every_client"]) await admin.post(`${base}/limits`, { subject, ...PLENTY });

  const endpoints = {};
  for (const server of servers) {
    const named = { slug: server.slug, name: server.slug };
    const upstream = await admin.post(`${base}/upstreams`, { ...named, url: server.url });
    const endpoint = await admin.post(`${base}/endpoints`, named);
    await admin.post(`${base}/endpoints/${endpoint.id}/upstreams`, { upstream_id: upstream.id, prefix: "" });
    await admin.put(`${base}/clients/${client.id}/endpoints/${endpoint.id}`);
    const names = await approveAll(admin, base, upstream.id);
    await grant(admin, base, client.id, upstream.id, server.tools ?? names, roles, server.tools === undefined);
    endpoints[server.slug] = `${up.gateway_url}/${slug}/${server.slug}/mcp`;
  }
  // The last write waits until every proxy has applied it, and with it all before.
  await admin.post(`${base}/roles?wait=applied`, { name: "last" });
  return { tenant: tenant.id, key, endpoints, admin };
}

/** Has a proxy list the upstream's tools and approves each; returns their names. */
async function approveAll(admin, base, upstream) {
  let command = await admin.post(`${base}/upstreams/${upstream}/discover`);
  for (const deadline = Date.now() + 30_000; command.finished_at === null; await sleep(50)) {
    if (Date.now() > deadline) throw new Error("no proxy listed the upstream's tools within 30 s");
    command = await admin.get(`${base}/commands/${command.id}`);
  }
  if (command.error_code !== null) throw new Error(`a proxy could not list the upstream's tools: ${command.error_code}`);
  const tools = await admin.all(`${base}/tools?upstream_id=${upstream}`);
  for (const tool of tools) await admin.post(`${base}/tools/${tool.id}/approve`, { class: "read", digest: tool.seen_digest });
  return tools.map((tool) => tool.name);
}

/** Grants `names`, dealt over `roles` roles that the client all has; with `everything`, also all that is no tool. */
async function grant(admin, base, client, upstream, names, roles, everything) {
  for (let index = 0; index < roles; index++) {
    const role = await admin.post(`${base}/roles`, { name: `${upstream}-${index}` });
    await admin.put(`${base}/clients/${client}/roles/${role.id}`);
    const tools = names.filter((_, at) => at % roles === index);
    const actions = [{ action: "call_tool", upstream, tools: { names: tools } }];
    if (everything && index === 0) {
      actions.push({ action: "get_prompt", upstream, prompts: "all" });
      actions.push({ action: "read_resource", upstream, uris: ["*"] });
      actions.push({ action: "subscribe", upstream, uris: ["*"] });
      actions.push({ action: "complete", upstream });
      actions.push({ action: "use_tasks", upstream });
    }
    await admin.post(`${base}/grants`, { subject: { role: role.id }, effect: "permit", actions });
  }
}
