// What a TLS listener offers, by sslyze, testssl.sh and OpenSSL: nothing weaker than the policy of shared/listen/src/tls.rs.
// Suites are asked for by OpenSSL, because sslyze gives up at the alert with which the listener refuses one that it does not have.
import { readFileSync, rmSync } from "node:fs";
import { inRoot, must, run } from "../peers/processes.mjs";

/** All that may be negotiated, by version and in OpenSSL's names; the certificate of a run is ECDSA's. */
const SUITES = {
  1.3: ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"],
  1.2: ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"],
};
/** Of those that have been. */
const OLD = ["sslv2", "sslv3", "tlsv1", "tlsv1_1"];
const HOLES = ["compression", "heartbleed", "openssl_ccs", "reneg"];

/** What of everything that OpenSSL knows of a version is accepted, each suite asked for by itself. */
async function accepted(port, version) {
  const [flag, choose] = version === "1.3" ? ["-tls1_3", "-ciphersuites"] : ["-tls1_2", "-cipher"];
  const all =
    version === "1.3"
      ? [...SUITES["1.3"], "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"]
      : (await must("openssl", ["ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"])).trim().split(":");
  const found = [];
  for (const suite of all) {
    const asked = version === "1.3" ? suite : `${suite}:@SECLEVEL=0`;
    const words = `openssl s_client -brief -connect 127.0.0.1:${port} -servername localhost ${flag} ${choose} '${asked}' </dev/null`;
    if ((await run("sh", ["-c", words], { timeout: 20_000 })).code === 0) found.push(suite);
  }
  return found;
}

/** What testssl.sh finds of every certificate of a CA that only this run knows, and of a server that is no web site. */
const OF_THIS_RUN = /^(cert_|DNS_CAArecord|OCSP_stapling|HSTS|HTTP_|scanTime|cert_revocation)/;

/** `{suites, weaker}`: what a listener accepts, and what of it is weaker than its floor allows. */
export async function tlsPolicy(port, floor, out) {
  const suites = {};
  const weaker = [];
  for (const version of ["1.2", "1.3"]) {
    suites[version] = await accepted(port, version);
    const fitting = version >= floor ? SUITES[version] : [];
    weaker.push(...suites[version].filter((suite) => !fitting.includes(suite)).map((suite) => `${version}: ${suite} is accepted`));
    if (fitting.some((suite) => !suites[version].includes(suite))) weaker.push(`${version}: only ${suites[version]} are accepted`);
  }

  const json = `${out}/sslyze-${floor}.json`;
  rmSync(json, { force: true });
  const sslyze = inRoot("target/hostile/venv/bin/sslyze");
  const scans = [...OLD, ...HOLES].map((scan) => `--${scan}`);
  await run(sslyze, [...scans, "--sni", "localhost", `--json_out=${json}`, `127.0.0.1:${port}`], { timeout: 300_000 });
  const [{ scan_result: scan }] = JSON.parse(readFileSync(json, "utf8")).server_scan_results;
  const result = (name) => {
    if (scan[name].status !== "COMPLETED") throw new Error(`sslyze could not look at ${name}; see ${json}`);
    return scan[name].result;
  };
  for (const name of ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"]) {
    if (result(`${name}_cipher_suites`).accepted_cipher_suites.length > 0) weaker.push(`sslyze: ${name} is accepted`);
  }
  const holes = [
    ["heartbleed", "is_vulnerable_to_heartbleed"],
    ["openssl_ccs_injection", "is_vulnerable_to_ccs_injection"],
    ["session_renegotiation", "is_vulnerable_to_client_renegotiation_dos"],
    ["tls_compression", "supports_compression"],
  ];
  for (const [name, member] of holes) if (result(name)[member]) weaker.push(`sslyze: ${name}`);

  const report = `${out}/testssl-${floor}.json`;
  rmSync(report, { force: true });
  const words = ["--quiet", "--color", "0", "--warnings", "off", "--openssl-timeout", "5", "--jsonfile", report, "--ip", "127.0.0.1", `localhost:${port}`];
  const testssl = (await run("which", ["testssl"])).code === 0 ? "testssl" : "testssl.sh";
  await run(testssl, words, { timeout: 900_000 });
  const findings = JSON.parse(readFileSync(report, "utf8"));
  if (!findings.some(({ id }) => id === "TLS1_3")) throw new Error(`testssl.sh did not come to its end; see ${report}`);
  const bad = findings.filter(({ id, severity }) => ["LOW", "MEDIUM", "HIGH", "CRITICAL"].includes(severity) && !OF_THIS_RUN.test(id));
  weaker.push(...bad.map(({ id, severity, finding }) => `testssl.sh: ${id}: ${finding} (${severity})`));
  return { suites, weaker };
}
