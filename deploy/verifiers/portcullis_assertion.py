"""Refuses what did not come through the gateway: ASGI middleware for Starlette, FastMCP and whatever else speaks ASGI.

    app = PortcullisAssertion(
        server.http_app(),
        issuer="https://auth.example.com/t/acme/assertions",
        audience="https://mcp.example.com/mcp",
    )

`issuer` and `audience` are what the admin API says of the upstream's assertion. Who calls is in `scope["portcullis"]` (the claims).
Needs PyJWT with its extra `crypto`. A process remembers for itself which assertions it has seen: several behind one address share that
memory, or accept what is shown to another of them within half a minute.
"""

import base64
import hashlib
import hmac
import json
import time
import urllib.request

import anyio.to_thread
import jwt

TYP = "portcullis-assertion+jwt"
# An assertion is good for 30 seconds; clocks may differ by so many.
LEEWAY = 5
# A key set is kept for so long, and fetched again for a key that is not in it, but not more often than this.
KEPT, NOT_BEFORE = 3600, 10
MAX_ASSERTION, MAX_KEYS, MAX_SEEN = 8 * 1024, 64 * 1024, 200_000


class Refused(Exception):
    """Why a request is refused. Says nothing of what was shown."""


class Keys:
    """The gateway's public keys. While they cannot be fetched, those that are known go on to be accepted."""

    def __init__(self, url):
        self.url, self.keys, self.fetched, self.tried = url, {}, 0.0, float("-inf")

    async def get(self, kid):
        now = time.monotonic()
        due = kid not in self.keys or now - self.fetched > KEPT
        if due and now - self.tried > NOT_BEFORE:
            self.tried = now
            try:
                self.keys = await anyio.to_thread.run_sync(self._fetch)
                self.fetched = now
            except (OSError, ValueError, KeyError, jwt.PyJWTError):
                pass
        if kid not in self.keys:
            raise Refused("unknown key")
        return self.keys[kid]

    def _fetch(self):
        with urllib.request.urlopen(self.url, timeout=5) as response:
            body = response.read(MAX_KEYS + 1)
        if len(body) > MAX_KEYS:
            raise ValueError("too many keys")
        keys = json.loads(body)["keys"]
        return {key["kid"]: jwt.PyJWK(key, algorithm="ES256").key for key in keys}


class PortcullisAssertion:
    def __init__(self, app, *, issuer, audience, jwks_uri=None, max_body=1_048_576):
        self.app, self.issuer, self.audience, self.max_body = app, issuer, audience, max_body
        self.keys = Keys(jwks_uri or f"{issuer}/jwks.json")
        self.seen = {}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            raise RuntimeError(f"nobody vouches for {scope['type']}")
        try:
            body = await self._body(receive)
            scope = {**scope, "portcullis": await self._check(scope, body)}
        except Refused as refused:
            return await self._refuse(send, str(refused))
        given = False

        async def again():
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)

    async def _body(self, receive):
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise Refused("gone")
            body += message.get("body", b"")
            if len(body) > self.max_body:
                raise Refused("body too large")
            if not message.get("more_body"):
                return body

    async def _check(self, scope, body):
        shown = [value for name, value in scope["headers"] if name == b"portcullis-assertion"]
        if len(shown) != 1 or len(shown[0]) > MAX_ASSERTION:
            raise Refused("no assertion")
        try:
            token = shown[0].decode("ascii")
            header = jwt.get_unverified_header(token)
            if header.get("typ") != TYP or header.get("alg") != "ES256":
                raise Refused("not an assertion")
            claims = jwt.decode(
                token,
                await self.keys.get(header.get("kid")),
                algorithms=["ES256"],
                issuer=self.issuer,
                audience=self.audience,
                leeway=LEEWAY,
                options={"require": ["iss", "aud", "sub", "iat", "exp", "jti"]},
            )
        except (UnicodeDecodeError, jwt.PyJWTError):
            raise Refused("assertion not accepted") from None
        digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
        said = claims.get("body_sha256")
        # Without a digest a body could be changed: set `body_digest`, as is the default.
        if not isinstance(said, str) or not hmac.compare_digest(said.encode(), digest.encode()):
            raise Refused("another body")
        self._once(claims)
        return claims

    def _once(self, claims):
        """Nothing is awaited between looking and remembering."""
        now = time.time()
        if len(self.seen) >= MAX_SEEN:
            self.seen = {jti: end for jti, end in self.seen.items() if end > now}
        if claims["jti"] in self.seen or len(self.seen) >= MAX_SEEN:
            raise Refused("shown before")
        self.seen[claims["jti"]] = claims["exp"] + LEEWAY
        # The oldest are first.
        for jti in list(self.seen)[:2]:
            if self.seen[jti] <= now:
                del self.seen[jti]

    async def _refuse(self, send, why):
        body = json.dumps({"title": "Only the gateway may call", "detail": why}).encode()
        headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": body})
