"""The examples of docs/agents.md: commands can be read, names and arguments are real."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from contextlib import nullcontext
from pathlib import Path

from fake_operator import FakeClient

from chatspot_ros.operators.mcp.http import PATH, TOKEN_VARIABLE
from chatspot_ros.operators.mcp.pictures import LONGEST_SIDE_PX, MOST_BYTES
from chatspot_ros.operators.mcp.server import make_server
from chatspot_ros.tools.cli import make_parser


def blocks(root: Path, kind: str) -> list[str]:
    text = (root / "docs/agents.md").read_text()
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_servers_of_a_client_are_commands_that_there_are(root: Path) -> None:
    servers = [json.loads(block)["mcpServers"]["robot"] for block in blocks(root, "json")]
    commands = [one for one in servers if "command" in one]
    assert len(commands) == 2
    for one in commands:
        program, *arguments = one["args"]
        assert program == "chatspot"
        make_parser("mcp").parse_args(arguments)
        place = one["command"].split("chatspot_ros/")[-1]
        assert (root / place).stat().st_mode & 0o100
        assert "ROS_DOMAIN_ID" in one["env"]
    (http,) = (one for one in servers if "url" in one)
    assert http["url"].endswith(f":8765{PATH}")
    assert make_parser("mcp").parse_args(["mcp", "--http"]).port == 8765


def test_what_the_page_says_of_tools_and_pictures_is_so(root: Path) -> None:
    text = (root / "docs/agents.md").read_text()
    tools = asyncio.run(make_server(lambda: nullcontext(FakeClient())).list_tools())
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [
        "list_cameras", "look", "list_detections", "ask_region", "watch",
    ]  # fmt: skip
    assert {one.name for one in tools} == set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert f"{LONGEST_SIDE_PX} pixels" in text
    assert f"{MOST_BYTES // 1000} kB" in text
    assert TOKEN_VARIABLE in text


def test_the_tool_for_langchain_asks_what_can_be_asked(root: Path) -> None:
    (code,) = blocks(root, "python")
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 10
    nodes = list(ast.walk(ast.parse(code)))
    (call,) = (one for one in nodes if ast.unparse(one).startswith("robot.call_tool("))
    assert isinstance(call, ast.Call)
    name = ast.literal_eval(call.args[0])
    (arguments,) = (one for one in nodes if isinstance(one, ast.Dict))
    tools = asyncio.run(make_server(lambda: nullcontext(FakeClient())).list_tools())
    (schema,) = (one.input_schema for one in tools if one.name == name)
    keys = {key.value for key in arguments.keys if isinstance(key, ast.Constant)}
    assert set(schema["required"]) <= keys <= set(schema["properties"])
