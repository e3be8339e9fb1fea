"""An OpenAI-compatible server on loopback that answers well, or in any of many wrong ways.

`modes` are the ways of the next requests, in order; when they run out it answers well: with the
mean colour of the picture, and a log-probability for each word.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np


class MisbehavingServer(ThreadingHTTPServer):
    """Use it in a `with`; requests are kept in `bodies`, `headers_seen` their headers."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.modes: deque[str] = deque()
        self.always = "well"
        self.answer = ""
        self.bodies: list[dict[str, Any]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.news = threading.Condition(self.lock)
        # Connections that the client closed before the answer was complete.
        self.closed = 0
        self.now = self.most = 0
        # Lets the answers of the mode `held` go on.
        self.release = threading.Event()
        self.known: dict[str, str] = {}
        self.connections: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def start(self) -> MisbehavingServer:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """End it, its open connections too."""
        self.release.set()
        self.shutdown()
        self.server_close()
        for one in self.connections:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def wait_until(self, holds: Any, timeout_s: float = 20.0) -> None:
        """Wait for something that a request changes."""
        with self.news:
            assert self.news.wait_for(holds, timeout_s), f"waited {timeout_s} s in vain"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MisbehavingServer

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.news:
            server.bodies.append(body)
            server.headers_seen.append({k.lower(): v for k, v in self.headers.items()})
            mode = server.modes.popleft() if server.modes else server.always
            server.now += 1
            server.most = max(server.most, server.now)
            server.news.notify_all()
        try:
            self._answer(mode, body)
        except (BrokenPipeError, ConnectionResetError):
            self._note_closed()
        finally:
            with server.news:
                server.now -= 1
                server.news.notify_all()

    def _note_closed(self) -> None:
        with self.server.news:
            self.server.closed += 1
            self.server.news.notify_all()
        self.close_connection = True

    def _answer(self, mode: str, body: dict[str, Any]) -> None:
        kind, _, detail = mode.partition(" ")
        if kind.isdigit():
            self._status(int(kind), {"Retry-After": detail} if detail else {})
        elif kind == "refuse":  # refuse a part of the request by its name
            if detail in body:
                self._status(400, {}, f"unknown field: {detail}")
            else:
                self._well(body)
        elif kind == "hang":  # no byte
            self._wait_for_close()
        elif kind == "redirect":
            self._status(307, {"Location": detail})
        elif kind == "html":
            self._whole(b"<html>a captive portal</html>", "text/html")
        elif kind == "unfinished_json":
            self._begin()
            self._send(b'data: {"id": "x", "choices": [{"delta"\n\n')
            self._end()
        elif kind == "wrong_shape":
            self._begin()
            self._event({"id": "x", "choices": [{"delta": 5, "finish_reason": "stop"}]})
            self._end()
        elif kind == "not_a_choice":
            self._begin()
            self._event(["no", "chunk"])
            self._end()
        elif kind == "error_event":
            self._begin()
            self._say("half an ", self._id())
            self._event({"error": {"message": "CUDA out of memory"}})
            self._end()
        elif kind == "cut":  # the connection breaks within the answer
            self._begin()
            self._say("half an ", self._id())
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif kind == "no_end":  # it ends as if all were well, without a finish reason
            self._begin()
            self._say("half an ", self._id())
            self._end()
        elif kind == "endless":
            self._begin()
            while True:
                self._say("again and " * 50, self._id())
        elif kind == "foreign":
            self._well(body, reply_id="chatspot-" + "0" * 32)
        elif kind == "mixed":
            self._begin()
            self._say("half an ", "one")
            self._say("answer", "two", finish="stop")
            self._end()
        elif kind == "held":  # speaks, then waits for the test or the client's end
            self._begin()
            self._say("half an ", self._id())
            if not self._wait_for_close():
                self._say("answer", self._id(), finish="stop")
                self._end()
        elif kind == "empty":
            self._begin()
            self._say("", self._id(), finish="stop")
            self._end()
        elif kind == "silent":  # no log-probabilities
            self._well(body, logs=False)
        elif kind == "strange_logs":
            self._well(body, value="high")
        elif kind == "length":
            self._well(body, finish="length")
        elif kind == "forgetful":  # it knows no picture by its id
            self.server.known.clear()
            self._well(body)
        else:
            assert mode == "well", mode
            self._well(body)

    def _id(self) -> str:
        return f"chatcmpl-{self.headers.get('x-request-id', '')}"

    def _well(
        self, body: dict[str, Any], reply_id: str = "", logs: bool = True, finish: str = "stop",
        value: Any = -0.1,
    ) -> None:  # fmt: skip
        colour = self._colour(body)
        if colour is None:
            self._status(400, {}, "the picture's uuid is unknown")
            return
        text = self.server.answer or f"a thing of {colour}"
        logs = logs and bool(body.get("logprobs"))
        self._begin()
        words = [f"{' ' * bool(k)}{word}" for k, word in enumerate(text.split(" "))]
        for word in words:
            self._say(word, reply_id or self._id(), value=value if logs else None)
        self._say("", reply_id or self._id(), finish=finish)
        self._end()

    def _colour(self, body: dict[str, Any]) -> str | None:
        """Return the mean colour of the picture; None: its id is unknown."""
        part = body["messages"][0]["content"][0]
        key, image = part.get("uuid"), part["image_url"]
        if image is None:
            return self.server.known.get(key)
        data = np.frombuffer(base64.b64decode(image["url"].partition("base64,")[2]), np.uint8)
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert bgr is not None
        colour = ",".join(str(round(float(v), -1)) for v in bgr.mean(axis=(0, 1))[::-1])
        if key:
            self.server.known[key] = colour
        return colour

    def _wait_for_close(self) -> bool:
        """Wait until the client closes the connection (True) or the test goes on (False)."""
        self.connection.settimeout(0.01)
        until_s = time.monotonic() + 60.0
        while time.monotonic() < until_s and not self.server.release.is_set():
            try:
                if self.connection.recv(1, socket.MSG_PEEK) == b"":
                    self._note_closed()
                    return True
            except TimeoutError:
                pass
        self.connection.settimeout(None)
        return False

    def _status(self, code: int, headers: dict[str, str], why: str = "as the test wants") -> None:
        self._whole(
            json.dumps({"error": {"message": why}}).encode(), "application/json", code, headers
        )

    def _whole(
        self, data: bytes, kind: str, code: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(code)
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _send(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _event(self, event: Any) -> None:
        self._send(f"data: {json.dumps(event)}\n\n".encode())

    def _say(self, text: str, reply_id: str, value: Any = None, finish: str | None = None) -> None:
        choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        if value is not None:
            choice["logprobs"] = {"content": [{"token": text, "logprob": value}]}
        self._event({"id": reply_id, "object": "chat.completion.chunk", "choices": [choice]})

    def _end(self) -> None:
        self._send(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass
