"""An agent: the SDK's own client, with `chatspot mcp` in a process of its own."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import cv2
import numpy as np
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult

PROGRAM = (sys.executable, "-m", "chatspot_ros.tools.mcp")
PATIENCE_S = 120.0

Scene = Callable[[Client], Awaitable[Any]]


def over_stdio(node: str, scene: Scene) -> Any:
    """Let an agent that has started the command play a scene with it."""
    server = StdioServerParameters(
        command=PROGRAM[0],
        args=[*PROGRAM[1:], "--node", node],
        env=dict(os.environ),
        cwd=tempfile.gettempdir(),
    )

    async def run() -> Any:
        with tempfile.TemporaryFile("w+") as log:
            try:
                async with Client(stdio_client(server, errlog=log)) as client:
                    return await asyncio.wait_for(scene(client), PATIENCE_S)
            finally:
                log.seek(0)
                print(log.read())

    return asyncio.run(run())


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    """Call a tool that must answer."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result


async def fails(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must not answer; return its words, which are no stack trace."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    (content,) = result.content
    assert "Traceback" not in content.text
    return str(content.text)


def picture_rgb(result: CallToolResult) -> np.ndarray:
    """Return the picture of a result."""
    data = base64.b64decode(result.content[1].data)
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), 1), cv2.COLOR_BGR2RGB)
