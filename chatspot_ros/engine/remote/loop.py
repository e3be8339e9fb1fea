"""An event loop in a thread of its own, for the requests of one engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")
_CLOSE_S = 2.0


class LoopThread:
    """Runs coroutines in a daemon thread; it holds no reference to what uses it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="remote-requests", daemon=True
        )
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
        """Start a coroutine. Cancelling the future cancels it there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Cancel what runs, then run `last` and end the thread; waits two seconds at most."""
        if not self._thread.is_alive():
            last.close()
            return

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await last
            self._loop.stop()

        self.start(end())
        self._thread.join(_CLOSE_S)
