"""The Python SDK as a caller.

`python python_client.py URL MODE CALL [REFUSED]`, MODE `legacy`, `modern` or `auto`, CALL `{"name":…,"arguments":…}`,
REFUSED the name of a tool the key is not granted. The key is in MCP_KEY. One JSON object on standard output: see peers.mjs.
"""

import asyncio
import json
import os
import sys
import traceback

from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError

MODES = {"legacy": "legacy", "modern": "2026-07-28", "auto": "auto"}


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
    key = os.environ.get("MCP_KEY")
    http = create_mcp_http_client(headers={"Authorization": f"Bearer {key}"} if key else None)
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
