// Both planes for a run: a `portcullis up` of its own, or one that runs already.
import { existsSync, readFileSync } from "node:fs";
import { atEnd, inRoot, must } from "./processes.mjs";

const built = (profile) => inRoot("target", profile === "dev" ? "debug" : profile, "portcullis");

/**
 * `up`: path of an up.json to use. Otherwise starts `binary`, or that of `profile`, in `dir` with all its ports from `portBase`
 * on; `wrap` goes before its command line. It ends with the run. Returns what up.json says.
 */
export async function gateway({ up, profile = "up", binary = built(profile), dir, portBase, wrap = [] }) {
  if (up) return JSON.parse(readFileSync(up, "utf8"));
  if (!existsSync(binary)) throw new Error(`${binary} is not built`);
  const [command, ...before] = [...wrap, binary];
  const options = ["up", "--no-demo", "--detach", "--fresh", "--dir", dir, "--port-base", String(portBase)];
  const env = { DATABASE_URL: undefined, REDIS_URL: undefined };
  atEnd(() => must(binary, ["down", "--dir", dir]));
  await must(command, [...before, ...options], { env, timeout: 300_000 });
  return JSON.parse(readFileSync(`${dir}/up.json`, "utf8"));
}
