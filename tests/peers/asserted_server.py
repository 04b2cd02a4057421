"""A FastMCP server that only its gateway may call: `python asserted_server.py PORT ISSUER AUDIENCE`, on 127.0.0.1, at /mcp."""

import sys
from pathlib import Path

import uvicorn
from fastmcp import FastMCP

sys.path.insert(0, str(Path(__file__).parents[2] / "deploy" / "verifiers"))
from portcullis_assertion import PortcullisAssertion  # noqa: E402

port, issuer, audience = int(sys.argv[1]), sys.argv[2], sys.argv[3]
server = FastMCP("portcullis-asserted-peer")


@server.tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


app = PortcullisAssertion(server.http_app(), issuer=issuer, audience=audience)
uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
