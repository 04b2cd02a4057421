// Refuses what did not come through the gateway: middleware for Express, to be used before anything reads bodies.
//
//   app.use(portcullisAssertion({
//     issuer: "https://auth.example.com/t/acme/assertions",
//     audience: "https://mcp.example.com/mcp",
//   }));
//
// `issuer` and `audience` are what the admin API says of the upstream's assertion. Who calls is in `res.locals.portcullis` (the claims),
// the body in `req.body`, parsed where it is JSON. Needs nothing but Node.js. A process remembers for itself which assertions it has
// seen: several behind one address share that memory, or accept what is shown to another of them within half a minute.
import { createHash, createPublicKey, timingSafeEqual, verify, type JsonWebKey, type KeyObject } from "node:crypto";

const TYP = "portcullis-assertion+jwt";
/** An assertion is good for 30 seconds; clocks may differ by so many. */
const LEEWAY = 5;
/** Milliseconds: a key set is kept for so long, and fetched again for a key that is not in it, but not more often than this. */
const KEPT = 3_600_000;
const NOT_BEFORE = 10_000;
const MAX_ASSERTION = 8 * 1024;
const MAX_KEYS = 64 * 1024;
const MAX_SEEN = 200_000;

export type Claims = {
  iss: string;
  aud: string;
  sub: string;
  exp: number;
  iat: number;
  jti: string;
  tenant: string;
  upstream: string;
  client_id?: string;
  endpoint?: string;
  method?: string;
  target?: string;
  call?: string;
  request_id?: string;
  body_sha256?: string;
};

export type Options = { issuer: string; audience: string; jwksUri?: string; maxBody?: number };

/** Why a request is refused. Says nothing of what was shown. */
class Refused extends Error {}

/** The gateway's public keys. While they cannot be fetched, those that are known go on to be accepted. */
class Keys {
  private keys = new Map<string, KeyObject>();
  private fetched = 0;
  private tried = -Infinity;
  private url: string;

  constructor(url: string) {
    this.url = url;
  }

  async get(kid: string): Promise<KeyObject> {
    const now = Date.now();
    if ((!this.keys.has(kid) || now - this.fetched > KEPT) && now - this.tried > NOT_BEFORE) {
      this.tried = now;
      try {
        const response = await fetch(this.url, { redirect: "error", signal: AbortSignal.timeout(5_000) });
        const text = await response.text();
        if (!response.ok || text.length > MAX_KEYS) throw new Error("no key set");
        const { keys } = JSON.parse(text) as { keys: (JsonWebKey & { kid: string })[] };
        const usable = keys.filter((key) => key.kty === "EC" && key.crv === "P-256");
        this.keys = new Map(usable.map((key) => [key.kid, createPublicKey({ key, format: "jwk" })]));
        this.fetched = now;
      } catch {
        // Those that are known go on.
      }
    }
    const key = this.keys.get(kid);
    if (!key) throw new Refused("unknown key");
    return key;
  }
}

export function portcullisAssertion({ issuer, audience, jwksUri = `${issuer}/jwks.json`, maxBody = 1_048_576 }: Options) {
  const keys = new Keys(jwksUri);
  let seen = new Map<string, number>();

  async function check(shown: string | undefined, body: Buffer): Promise<Claims> {
    if (!shown || shown.length > MAX_ASSERTION) throw new Refused("no assertion");
    const [header, claims, signature, ...more] = shown.split(".");
    if (!header || !claims || !signature || more.length > 0) throw new Refused("assertion not accepted");
    const { typ, alg, kid } = parsed(header);
    if (typ !== TYP || alg !== "ES256" || typeof kid !== "string") throw new Refused("not an assertion");
    const key = { key: await keys.get(kid), dsaEncoding: "ieee-p1363" as const };
    if (!verify("sha256", Buffer.from(`${header}.${claims}`), key, Buffer.from(signature, "base64url"))) {
      throw new Refused("assertion not accepted");
    }
    const said = parsed(claims) as Claims;
    const now = Date.now() / 1000;
    const good = said.iss === issuer && said.aud === audience && typeof said.sub === "string" && typeof said.jti === "string";
    const timely = typeof said.exp === "number" && now < said.exp + LEEWAY && typeof said.iat === "number" && said.iat < now + LEEWAY;
    if (!good || !timely) throw new Refused("assertion not accepted");
    // Without a digest a body could be changed: set `body_digest`, as is the default.
    const digest = createHash("sha256").update(body).digest();
    const theirs = Buffer.from(String(said.body_sha256), "base64url");
    if (theirs.length !== digest.length || !timingSafeEqual(theirs, digest)) throw new Refused("another body");
    // Nothing is awaited between looking and remembering.
    if (seen.size >= MAX_SEEN) seen = new Map([...seen].filter(([, end]) => end > now));
    if (seen.has(said.jti) || seen.size >= MAX_SEEN) throw new Refused("shown before");
    seen.set(said.jti, said.exp + LEEWAY);
    return said;
  }

  return async (req: any, res: any, next: (error?: unknown) => void) => {
    try {
      const body = await read(req, maxBody);
      const shown = req.headersDistinct["portcullis-assertion"];
      res.locals.portcullis = await check(shown?.length === 1 ? shown[0] : undefined, body);
      // So that no other middleware waits for a body that has been read.
      req._body = true;
      req.body = body.length > 0 && /\bjson\b/.test(req.headers["content-type"] ?? "") ? JSON.parse(body.toString("utf8")) : undefined;
    } catch (error) {
      if (!(error instanceof Refused) && !(error instanceof SyntaxError)) return next(error);
      const detail = error instanceof Refused ? error.message : "not JSON";
      res.status(403).type("application/problem+json").set("cache-control", "no-store");
      return res.send(JSON.stringify({ title: "Only the gateway may call", detail }));
    }
    next();
  };
}

function parsed(part: string): any {
  const value = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  if (typeof value !== "object" || value === null) throw new Refused("not an assertion");
  return value;
}

async function read(req: AsyncIterable<Buffer>, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req) {
    size += chunk.length;
    if (size > most) throw new Refused("body too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
