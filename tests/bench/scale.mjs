// Ten thousand tenants: the index in memory, a key revoked in it, and a proxy that starts from its archive.
import { run, must, sleep } from "../peers/processes.mjs";
import { memoryMib } from "./machine.mjs";
import { benchTool } from "./places.mjs";
import { startPlanes } from "./planes.mjs";
import { percentile } from "./samples.mjs";

const TENANTS = 10_000;
const PORT_BASE = 8400;
const STARTS = 5;
/** What the first synchronisation may take. */
const PATIENCE = 600_000;

const round = (value, digits = 3) => Number(value.toFixed(digits));

/** Starts of the built proxy from its archive, the control plane being away. */
async function coldStarts({ out, profile }) {
  const dir = `${out}/scale`;
  const { up, planes } = await startPlanes({ profile, dir, portBase: PORT_BASE, proxies: 1 });
  const env = { DATABASE_URL: up.database_url };
  const files = ["--master-key-file", planes.control.options["--master-key-file"], "--tenants", String(TENANTS)];
  await must(benchTool("bench-fill"), files, { env, timeout: PATIENCE });
  let proxy = planes["proxy-0"];
  await complete(proxy);
  await proxy.end("SIGTERM");
  await planes.control.kill();
  const seconds = [];
  let resident;
  for (let start = 0; start < STARTS; start++) {
    const again = proxy.like(proxy.name, { "--join-token-file": null });
    const begun = performance.now();
    await again.start(1);
    seconds.push((performance.now() - begun) / 1_000);
    const { tenants, configuration } = await again.health();
    if (tenants !== TENANTS || configuration !== "archived") throw new Error(`started with ${tenants} tenants, ${configuration}`);
    resident = memoryMib(again.pid);
    await again.end("SIGKILL");
    proxy = again;
  }
  return { seconds: seconds.map((each) => round(each)), proxy_rss_mib: round(resident.now, 1) };
}

/** Waits until the proxy has everything and has told its disk so. */
async function complete(proxy) {
  for (const deadline = Date.now() + PATIENCE; ; await sleep(500)) {
    const { tenants, configuration } = await proxy.health();
    if (tenants === TENANTS && configuration === "complete") break;
    if (Date.now() > deadline) throw new Error(`${tenants} of ${TENANTS} tenants after ${PATIENCE / 1_000} s`);
  }
  await sleep(2_000);
}

export async function scale({ out, profile }) {
  const ended = await run(benchTool("bench-scale"), [String(TENANTS)], { timeout: PATIENCE });
  if (ended.code !== 0) throw new Error(`bench-scale: ${ended.stderr}`);
  const index = JSON.parse(ended.stdout);
  const starts = await coldStarts({ out, profile });
  const result = {
    rss_10k_tenants_100k_keys_mib: round(index.rss_mib, 1),
    revoke_apply_ms: round(index.revoke_p99_ms),
    cold_start_s: percentile(starts.seconds, 0.5),
  };
  return { result, index, starts };
}
