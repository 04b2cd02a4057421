// Which binaries a run uses: those of a profile, or those of a directory that PORTCULLIS_BIN_DIR names.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { inRoot } from "../peers/processes.mjs";

function binary(name, profile) {
  const dir = process.env.PORTCULLIS_BIN_DIR ?? inRoot("target", profile === "dev" ? "debug" : profile);
  const path = join(dir, name);
  if (!existsSync(path)) throw new Error(`${path} is missing; tests/bench/run.sh builds it`);
  return path;
}

/** The product. */
export const portcullis = (profile) => binary("portcullis", profile);

/** One of tests/bench-tools. */
export const benchTool = (name, profile = "release") => binary(name, profile);
