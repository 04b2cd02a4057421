// The three ways to the upstream that are compared: none between, nginx, the gateway with all its checks.
import { mkdirSync, writeFileSync } from "node:fs";
import { gateway } from "../peers/gateway.mjs";
import { freePort, serve } from "../peers/processes.mjs";
import { provision } from "../peers/setup.mjs";
import { benchTool, portcullis } from "./places.mjs";
import { parent, pin, tree } from "./machine.mjs";

/** The proxy under test runs alone on the first core; the load and the upstream share the second. */
export const PROXY_CORE = 0;
export const LOAD_CORE = 1;

/** Of the fifty tools that the upstream lists, the one that is called. */
export const TOOL = "tool_07";
export const TOOLS = Array.from({ length: 50 }, (_, at) => `tool_${String(at).padStart(2, "0")}`);

/**
 * Of a burst under 20 for each proxy nothing is leased: every take is a call to Redis. At this rate it is full again before the
 * next of 16 connections calls, so that nothing is refused.
 */
export const STRICT = { per_minute: 10_000_000, burst: 19, concurrency: 0 };

const onCore = (core, command, ...args) => ["taskset", ["-c", String(core), command, ...args]];

/** The upstream, its port and a function that says how many calls it has answered. */
export async function startEcho(out, profile) {
  const port = await freePort();
  const command = onCore(LOAD_CORE, benchTool("bench-echo", profile), String(port));
  await serve(...command, { port, log: `${out}/echo.log` });
  const calls = async () => Number(await (await fetch(`http://127.0.0.1:${port}/calls`)).text());
  return { name: "direct", url: `http://127.0.0.1:${port}/mcp`, port, calls };
}

/** nginx as a plain reverse proxy: one worker, connections to the upstream kept, no access log; `tls`: files of its certificate. */
export async function startNginx(out, upstream, tls) {
  const port = await freePort();
  const prefix = `${out}/nginx`;
  mkdirSync(`${prefix}/tmp`, { recursive: true });
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  writeFileSync(
    `${prefix}/nginx.conf`,
    `daemon off;
worker_processes 1;
pid ${prefix}/nginx.pid;
error_log ${prefix}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  ${temporary.map((kind) => `${kind}_temp_path ${prefix}/tmp/${kind};`).join("\n  ")}
  # Bodies stay in memory, as they do in the gateway.
  client_body_buffer_size 2m;
  client_max_body_size 2m;
  keepalive_requests 100000000;
  upstream echo { server 127.0.0.1:${upstream.port}; keepalive 64; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${port}${tls ? " ssl http2" : ""};
    ${tls ? `ssl_certificate ${tls.tls};\n    ssl_certificate_key ${tls.tlsKey};\n    ssl_protocols TLSv1.3;` : ""}
    location / {
      proxy_pass http://echo;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
}
`,
  );
  const paths = ["-p", prefix, "-e", `${prefix}/error.log`, "-c", `${prefix}/nginx.conf`];
  const master = await serve(...onCore(PROXY_CORE, "nginx", ...paths), { port, log: `${out}/nginx.log` });
  const pids = tree(master.pid);
  return { name: "nginx", url: `http://127.0.0.1:${port}/mcp`, port, pids };
}

/**
 * The gateway: a key, 20 grants over the 50 tools, pins, limits, audit to the spool on disk. Everything is started on the
 * proxy's core, so that the proxy sizes itself for one core; then all but the proxy is moved to the other.
 */
export async function startGateway(out, upstream, { profile, up }) {
  const wrap = ["taskset", "-c", String(PROXY_CORE)];
  const facts = await gateway({ up, binary: portcullis(profile), dir: `${out}/run`, portBase: 7800, wrap });
  const [proxy] = facts.proxies;
  const others = tree(parent(proxy.pid)).filter((pid) => pid !== proxy.pid);
  await pin([proxy.pid], PROXY_CORE);
  if (!up) await pin(others, LOAD_CORE);
  const tenant = `bench-${Date.now().toString(36)}`;
  const servers = [{ slug: "echo", url: upstream.url }];
  const { endpoints, key } = await provision(facts, { tenant, servers, roles: 20 });
  const url = endpoints.echo;
  const side = { name: "gateway", url, port: Number(new URL(url).port), pids: [proxy.pid], pid: proxy.pid, adminUrl: proxy.admin_url };
  return { ...side, key, facts };
}

/** A proxy of planes that run, as one of the sides. */
export function proxySide(name, proxy, endpoint) {
  const listen = proxy.options["--listen"];
  const url = endpoint.replace(/\/\/[^/]+/, `//${listen}`);
  return { name, url, port: Number(listen.split(":")[1]), pids: [proxy.pid], pid: proxy.pid, adminUrl: proxy.adminUrl };
}
