// A person at a browser, as far as signing in and consenting need one: follows redirects, keeps cookies, fills in forms.
//   node person.mjs URL     opens URL; prints the URL on the client's side that the person was sent back to
// MCP_PERSON: {"email", "password", "redirect_uri", "decision": "allow" | "deny"}.
import { pathToFileURL } from "node:url";

/** Pages and redirects that a sign-in may take. */
const MOST_STEPS = 12;

const entities = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", "#x27": "'" };
const unescaped = (text) => text.replace(/&(\w+|#\w+);/g, (whole, name) => entities[name] ?? whole);
const attributes = (tag) =>
  Object.fromEntries(
    [...tag.matchAll(/([\w-]+)(?:="([^"]*)"|='([^']*)')?/g)].slice(1).map(([, name, a, b]) => [name, unescaped(a ?? b ?? "")]),
  );

/** The forms of a page: where they go, how, and their fields and buttons as `{tag, name, type, value}`. */
function forms(html) {
  return [...html.matchAll(/<form[^>]*>[\s\S]*?<\/form>/g)].map(([whole]) => {
    const [tag] = whole.match(/<form[^>]*>/);
    const { action = "", method = "get" } = attributes(tag);
    const fields = [...whole.matchAll(/<(input|button)\b[^>]*>/g)].map(([text, kind]) => ({ kind, ...attributes(text) }));
    return { action, method: method.toUpperCase(), fields };
  });
}

/** What the person does with a page: the form, filled in. */
function answer(page, { email, password, decision = "allow" }) {
  const all = forms(page);
  const asks = (form, type) => form.fields.some((field) => field.type === type);
  const form = all.find((form) => asks(form, "password")) ?? all.find((form) => form.fields.some(({ value }) => value === decision));
  if (!form) throw new Error(`nothing to do on this page:\n${page}`);
  const filled = new URLSearchParams();
  for (const { kind, name, type, value = "" } of form.fields) {
    if (!name) continue;
    if (type === "password") filled.set(name, password);
    else if (type === "email" || name === "email") filled.set(name, email);
    else if (kind === "button" || type === "submit") value === decision && filled.set(name, value);
    else filled.set(name, value);
  }
  return { action: form.action, method: form.method, filled };
}

/** Opens `start`; the URL at the client that it ended at. */
export async function browse(start, person) {
  const cookies = new Map();
  let request = { url: start, method: "GET" };
  for (let step = 0; step < MOST_STEPS; step++) {
    const { url, method, body } = request;
    const headers = { accept: "text/html", cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") };
    if (body) Object.assign(headers, { "content-type": "application/x-www-form-urlencoded", origin: new URL(url).origin });
    const response = await fetch(url, { method, body, headers, redirect: "manual" });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
      cookies.set(name, value);
    }
    const to = response.headers.get("location");
    if (to) {
      const next = new URL(to, url).href;
      if (next.startsWith(person.redirect_uri)) return next;
      // After a POST by 303, or where a page leads on.
      request = { url: next, method: "GET" };
      continue;
    }
    const page = await response.text();
    if (!response.ok) throw new Error(`${method} ${url}: ${response.status}\n${page}`);
    const { action, method: how, filled } = answer(page, person);
    const target = new URL(action || url, url).href;
    request = how === "POST" ? { url: target, method: how, body: filled.toString() } : { url: `${target}?${filled}`, method: "GET" };
  }
  throw new Error(`still not back after ${MOST_STEPS} steps`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  console.log(await browse(process.argv[2], JSON.parse(process.env.MCP_PERSON)));
}
