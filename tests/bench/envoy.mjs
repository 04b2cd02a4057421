// Envoy as a peer with like features: API key, its MCP filter, a rule on the tool's name, a local limit.
import { mkdirSync, writeFileSync } from "node:fs";
import { freePort, inRoot, serve } from "../peers/processes.mjs";
import { PROXY_CORE, TOOL, TOOLS } from "./sides.mjs";

const type = (name) => ({ "@type": `type.googleapis.com/envoy.extensions.filters.${name}` });
const filter = (name, message, config = {}) => ({ name: `envoy.filters.http.${name}`, typed_config: { ...type(`http.${name}.v3.${message}`), ...config } });
const at = (port) => ({ address: { socket_address: { address: "127.0.0.1", port_value: port } } });

/** What the MCP filter has read of a call. */
const read = (path, exact) => ({
  sourced_metadata: {
    metadata_matcher: { filter: "envoy.filters.http.mcp", path: path.map((key) => ({ key })), value: { string_match: { exact } } },
  },
});

/** As much as it may take before it would refuse: no call meets it. */
const PLENTY = { max_tokens: 10_000_000, tokens_per_fill: 10_000_000, fill_interval: "60s" };
const ALWAYS = { default_value: { numerator: 100, denominator: "HUNDRED" } };
const LARGEST = 2 * 1024 * 1024;

export async function startEnvoy(out, upstream, key) {
  const port = await freePort();
  const folder = `${out}/envoy`;
  mkdirSync(folder, { recursive: true });
  const named = TOOLS.map((tool) => read(["params", "name"], tool));
  const policies = {
    tools: {
      permissions: [{ and_rules: { rules: [read(["method"], "tools/call"), { or_rules: { rules: named } }] } }],
      principals: [{ any: true }],
    },
  };
  const http_filters = [
    filter("api_key_auth", "ApiKeyAuth", {
      credentials: [{ key, client: "caller" }],
      key_sources: [{ header: "Authorization" }],
      forwarding: { hide_credentials: true },
    }),
    filter("mcp", "Mcp", { traffic_mode: "REJECT_NO_MCP", max_request_body_size: LARGEST }),
    filter("rbac", "RBAC", { rules: { action: "ALLOW", policies } }),
    filter("local_ratelimit", "LocalRateLimit", { stat_prefix: "limit", token_bucket: PLENTY, filter_enabled: ALWAYS, filter_enforced: ALWAYS }),
    filter("router", "Router"),
  ];
  const manager = {
    ...type("network.http_connection_manager.v3.HttpConnectionManager"),
    stat_prefix: "in",
    generate_request_id: false,
    route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "echo" } }] }] },
    http_filters,
  };
  const listener = { ...at(port), per_connection_buffer_limit_bytes: LARGEST, filter_chains: [{ filters: [{ name: "http", typed_config: manager }] }] };
  const endpoints = [{ lb_endpoints: [{ endpoint: at(upstream.port) }] }];
  const cluster = { name: "echo", type: "STATIC", per_connection_buffer_limit_bytes: LARGEST, load_assignment: { cluster_name: "echo", endpoints } };
  const file = `${folder}/envoy.json`;
  // It has the key of a tenant that lives as long as this run.
  writeFileSync(file, JSON.stringify({ static_resources: { listeners: [listener], clusters: [cluster] } }), { mode: 0o600 });
  const program = inRoot("target/bench/venv/bin/envoy");
  const words = ["-c", String(PROXY_CORE), program, "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"];
  const child = await serve("taskset", words, { port, log: `${out}/envoy.log` });
  return { name: "envoy", url: `http://127.0.0.1:${port}/mcp`, port, pids: [child.pid], pid: child.pid, tool: TOOL };
}
