"""A service whose replies are sent by any thread.

rclpy sends a reply when the callback returns. A callback that awaits another thread is resumed by
the executor, so that its reply leaves only after the executor has woken up and run one more round.
Here the callback returns at once, and the thread that ends the request sends the reply.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.service_introspection import ServiceIntrospectionState

# Sends a response; safe from any thread, and only the first call counts.
SendReply = Callable[[Any], None]
_WARN_AGAIN_S = 10.0
_EVENTS = QoSProfile(depth=10)


class _Reply:
    """Sends one reply as soon as both the response and the caller's header are known."""

    def __init__(self, send: Callable[[Any, Any], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._header: Any = None
        self._response: Any = None
        self._left = False

    def to(self, header: Any) -> None:
        """Set the caller's header, which rclpy provides after the callback."""
        self._go(header, None)

    def give(self, response: Any) -> None:
        """Set the response."""
        self._go(None, response)

    def _go(self, header: Any, response: Any) -> None:
        with self._lock:
            self._header = header if self._header is None else self._header
            self._response = response if self._response is None else self._response
            if self._left or self._header is None or self._response is None:
                return
            self._left = True
        self._send(self._response, self._header)


class DeferredService:
    """Offers a service; its callback gets a function that sends the reply, now or later."""

    def __init__(
        self,
        node: Node,
        srv_type: type[Any],
        name: str,
        callback: Callable[[Any, Any, SendReply], None],
        **options: Any,
    ) -> None:
        """`callback(request, response, send)` runs in the executor's thread.

        It must make sure that `send(response)` is called once, from any thread. `options` are those
        of `Node.create_service`.
        """
        self._node = node
        self._callback = callback
        self._lock = threading.Lock()
        self._waiting = 0
        self._service: Any = node.create_service(srv_type, name, self._on_request, **options)
        # The executor calls it with the callback's return value and the caller's header.
        self._send_now = self._service.send_response
        self._service.send_response = self._send_response
        self._introspection = "off"

    @property
    def waiting(self) -> int:
        """The number of requests without a reply."""
        with self._lock:
            return self._waiting

    def introspect(self, what: str) -> None:
        """Publish each request and reply as an event: `off`, `metadata` or `contents`.

        For the executor's thread. A reply that leaves in another thread meanwhile is safe: rclpy
        holds Python's lock in both.
        """
        if what == self._introspection:
            return
        state = ServiceIntrospectionState.__members__[what.upper()]
        self._service.configure_introspection(self._node.get_clock(), _EVENTS, state)
        self._introspection = what

    def _on_request(self, request: Any, response: Any) -> _Reply:
        reply = _Reply(self._send)
        self._count(1)
        try:
            self._callback(request, response, reply.give)
        except BaseException:
            self._count(-1)
            raise
        return reply

    def _send_response(self, reply: _Reply, header: Any) -> None:
        reply.to(header)

    def _send(self, response: Any, header: Any) -> None:
        try:
            self._send_now(response, header)
        except Exception:  # the caller or the node is gone: other requests go on
            self._node.get_logger().warning(
                f"a reply could not be sent\n{traceback.format_exc()}",
                throttle_duration_sec=_WARN_AGAIN_S,
            )
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._waiting += change
