"""A service whose replies leave from whichever thread knows them.

rclpy sends a reply when the callback returns. A callback that awaits what another thread does is
looked at again in every round of the executor, and its reply leaves only when that has been woken
and has come round once more. Here the callback returns at once, and the thread that ends the query
sends the reply itself.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

# Sends a response; safe from any thread, and only the first call counts.
SendReply = Callable[[Any], None]
_WARN_AGAIN_S = 10.0


class _Reply:
    """One reply on its way: it leaves when it is known, and so is to whom it goes."""

    def __init__(self, send: Callable[[Any, Any], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._header: Any = None
        self._response: Any = None
        self._left = False

    def to(self, header: Any) -> None:
        """Note who asked, which rclpy tells after the callback."""
        self._go(header, None)

    def give(self, response: Any) -> None:
        """Note what is replied."""
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
    """Offers a service; its callback is given what sends the reply, now or later."""

    def __init__(
        self,
        node: Node,
        srv_type: type[Any],
        name: str,
        callback: Callable[[Any, Any, SendReply], None],
        **options: Any,
    ) -> None:
        """`callback(request, response, send)` runs in the executor's thread.

        It sees to it that `send(response)` is called once. `options` are those of
        `Node.create_service`.
        """
        self._node = node
        self._callback = callback
        self._lock = threading.Lock()
        self._waiting = 0
        service: Any = node.create_service(srv_type, name, self._on_request, **options)
        # The executor calls it with what the callback has returned, and who asked.
        self._send_now = service.send_response
        service.send_response = self._send_response

    @property
    def waiting(self) -> int:
        """How many requests have no reply yet."""
        with self._lock:
            return self._waiting

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
        except Exception:  # who asked is gone, or the node is: nobody else must suffer
            self._node.get_logger().warning(
                f"a reply could not be sent\n{traceback.format_exc()}",
                throttle_duration_sec=_WARN_AGAIN_S,
            )
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._waiting += change
