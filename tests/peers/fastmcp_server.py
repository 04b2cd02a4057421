"""A FastMCP server: `python fastmcp_server.py PORT`, on 127.0.0.1, at /mcp."""

import sys

from fastmcp import FastMCP

server = FastMCP("portcullis-fastmcp-peer")


@server.tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool
def wipe() -> str:
    """Stands for a tool that nobody should be granted; does nothing."""
    return "wiped"


server.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
