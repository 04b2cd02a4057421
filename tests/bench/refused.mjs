// What a refused call costs the proxy beside one that is allowed.
import { provision } from "../peers/setup.mjs";
import { burst, refusedBurst } from "./burst.mjs";
import { median } from "./machine.mjs";
import { request, verify } from "./requests.mjs";
import { TOOL } from "./sides.mjs";

/** Limits of which nothing is left after the first call. */
const NOTHING = { per_minute: 1, burst: 1, concurrency: 0 };

/** Rounds of allowed calls and of each kind of refused ones, in turn. Afterwards the gateway refuses this address for a minute. */
export async function refused({ out, options, echo, gateway }) {
  const servers = [{ slug: "echo", url: echo.url }];
  const spent = await provision(gateway.facts, { tenant: `spent-${Date.now().toString(36)}`, servers, limits: NOTHING });
  const files = (name, side, tool, key) => request({ name: `refused_${name}`, bytes: 300 }, { side, tool, key, folder: out });
  const other = { ...gateway, url: spent.endpoints.echo };
  const kinds = [
    { code: "tool_not_granted", side: gateway, files: files("tool", gateway, "tool_99", gateway.key) },
    { code: "rate_limited", side: other, files: files("limit", other, TOOL, spent.key) },
  ];
  // The one call that the limit allows.
  await verify(other, kinds[1].files);
  const allowed = files("allowed", gateway, TOOL, gateway.key);
  const samples = new Map(kinds.map(({ code }) => [code, []]));
  const allowedMicros = [];
  const seconds = Number(options.seconds);
  for (let round = 0; round < Number(options.rounds); round++) {
    const { micros } = await burst(gateway, echo, allowed, seconds);
    allowedMicros.push(micros);
    for (const kind of kinds) {
      const sample = await refusedBurst(kind.side, echo, kind.files, seconds);
      samples.get(kind.code).push({ ...sample, ratio: sample.micros / micros });
    }
  }
  // Last, because it uses up what failures this address has, and then every call from it is refused: that is what most of
  // these are. So they have no allowed ones beside them, only those before.
  const guess = { code: "credential_invalid, then address_limited", files: files("key", gateway, TOOL, `${gateway.key}x`) };
  const usual = median(allowedMicros);
  samples.set(guess.code, []);
  for (let round = 0; round < Number(options.rounds); round++) {
    const sample = await refusedBurst(gateway, echo, guess.files, seconds);
    samples.get(guess.code).push({ ...sample, ratio: sample.micros / usual });
  }
  return [...kinds, guess].map(({ code }) => {
    const own = samples.get(code);
    const calls = own.reduce((sum, sample) => sum + sample.calls, 0);
    return { code, calls, micros: median(own.map(({ micros }) => micros)), ratio: median(own.map(({ ratio }) => ratio)) };
  });
}
