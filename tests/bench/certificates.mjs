// A CA and a server's certificate for 127.0.0.1, for a run.
import { mkdirSync, writeFileSync } from "node:fs";
import { must } from "../peers/processes.mjs";

/** Makes them in `folder`; the files. */
export async function certificates(folder) {
  mkdirSync(folder, { recursive: true });
  const files = Object.fromEntries(["ca", "tls"].flatMap((name) => [
    [name, `${folder}/${name}.pem`],
    [`${name}Key`, `${folder}/${name}.key`],
  ]));
  const request = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const openssl = (...args) => must("openssl", args);
  await openssl(...request, "-x509", "-days", "2", "-subj", "/CN=Bench CA", "-keyout", files.caKey, "-out", files.ca);
  await openssl(...request, "-subj", "/CN=localhost", "-keyout", files.tlsKey, "-out", `${folder}/tls.csr`);
  writeFileSync(`${folder}/tls.ext`, "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n");
  const signing = ["-CA", files.ca, "-CAkey", files.caKey, "-CAcreateserial", "-days", "2", "-extfile", `${folder}/tls.ext`];
  await openssl("x509", "-req", "-in", `${folder}/tls.csr`, ...signing, "-out", files.tls);
  return files;
}

/** Options of a proxy that shows it. */
export const showing = (files) => ({ "--tls-cert": files.tls, "--tls-key": files.tlsKey });
