"""The Python SDK as a caller.

`python python_client.py URL MODE CALL [REFUSED]`, MODE `legacy`, `modern` or `auto`, CALL `{"name":…,"arguments":…}`,
REFUSED the name of a tool the caller is not granted. Who calls is in MCP_IDENTITY, and one JSON object goes to standard output:
see peers.mjs.
"""

import asyncio
import json
import os
import subprocess
import sys
import traceback
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata
from mcp.shared.exceptions import MCPError

MODES = {"legacy": "legacy", "modern": "2026-07-28", "auto": "auto"}


class Kept:
    """Tokens and registration for as long as this process runs."""

    def __init__(self):
        self.tokens = self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


class Key(httpx2.Auth):
    def __init__(self, key):
        self.key = key

    def auth_flow(self, request):
        request.headers["Authorization"] = f"Bearer {self.key}"
        yield request


class Person(OAuthClientProvider):
    """Sends a person to the issuer. The client registers itself unless the issuer knows it already."""

    def __init__(self, identity, url):
        self.browser = identity["browser"]
        metadata = {
            "client_name": "portcullis-python-peer",
            "redirect_uris": [identity["redirect_uri"]],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
        }
        kept = Kept()
        if "client_id" in identity:
            kept.client = OAuthClientInformationFull(client_id=identity["client_id"], issuer=identity["issuer"], **metadata)
        super().__init__(url, OAuthClientMetadata(**metadata), kept, self.opened, self.sent_back)

    async def opened(self, url):
        ended = subprocess.run([*self.browser, url], capture_output=True, check=True, text=True)  # noqa: ASYNC221
        self.callback = {name: values[0] for name, values in parse_qs(urlsplit(ended.stdout.strip()).query).items()}

    async def sent_back(self):
        return AuthorizationCodeResult(**self.callback)


def credentials(identity, url):
    """How requests say who calls."""
    if identity.get("kind") == "person":
        return Person(identity, url)
    common = {"server_url": url, "storage": Kept(), "issuer": identity.get("issuer"), "client_id": identity.get("client_id")}
    match identity.get("kind"):
        case "key":
            return Key(identity["key"])
        case "secret":
            return ClientCredentialsOAuthProvider(**common, client_secret=identity["secret"])
        case "signed":
            signer = SignedJWTParameters(
                issuer=identity["client_id"],
                subject=identity["client_id"],
                signing_key=identity["private_key"],
                signing_algorithm="ES256",
            )
            return PrivateKeyJWTOAuthProvider(**common, assertion_provider=signer.create_assertion_provider())
    return None


def texts(result):
    return "\n".join(getattr(block, "text", "") for block in result.content)


async def refusal(client, name):
    """What a caller sees of a refusal: the error's own members, or the result's text."""
    try:
        result = await client.call_tool(name, {})
    except MCPError as error:
        data = error.data or {}
        return {
            "kind": "error",
            "code": error.code,
            "slug": data.get("code"),
            "remedy": data.get("remedy"),
            "shown": str(error),
        }
    return {"kind": "result", "is_error": bool(result.is_error), "shown": texts(result)}


async def run(url, mode, call, refused):
    identity = json.loads(os.environ.get("MCP_IDENTITY", "{}"))
    http = create_mcp_http_client(auth=credentials(identity, url))
    async with http, Client(streamable_http_client(url, http_client=http), mode=MODES[mode]) as client:
        tools = await client.list_tools()
        result = await client.call_tool(call["name"], call["arguments"])
        return {
            "protocol": client.protocol_version,
            "tools": [tool.name for tool in tools.tools],
            "call": {"is_error": bool(result.is_error), "text": texts(result)},
            "refused": await refusal(client, refused) if refused else None,
        }


def main():
    url, mode, call, *refused = sys.argv[1:]
    try:
        answer = asyncio.run(run(url, mode, json.loads(call), refused[0] if refused else None))
    except BaseException:  # noqa: BLE001 - task groups wrap what went wrong; the caller of this script wants all of it
        print(json.dumps({"failed": traceback.format_exc()}))
        return 1
    print(json.dumps(answer))
    return 0


sys.exit(main())
