"""The page as an application, and the server that runs it."""

from __future__ import annotations

import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import Callable, Sequence

import uvicorn
from fastapi import FastAPI
from nicegui import Client, ui
from starlette.responses import PlainTextResponse, Response

from chatspot_ros.operators.client import OperatorClient
from chatspot_ros.operators.questions import QUICK_QUESTIONS
from chatspot_ros.operators.web.access import AccessGuard
from chatspot_ros.operators.web.conversation import Conversation
from chatspot_ros.operators.web.frames import CameraFeed, packed
from chatspot_ros.operators.web.page import OperatorPage

# A browser that is gone for longer begins anew; a phone in a pocket is not.
_AWAY_S = 120.0
_REST_EVERY_S = 2.0
_END_S = 1


class OperatorPages:
    """The pages of all people: the cameras' frames once for all, a conversation for each."""

    def __init__(self, client: OperatorClient, quick_questions: Sequence[str] = ()) -> None:
        self._client = client
        self._quick_questions = tuple(quick_questions) or QUICK_QUESTIONS
        self._feeds: dict[str, CameraFeed] = {}
        self._people: dict[str, Conversation] = {}

    def build(self, browser: Client) -> None:
        """Build the page for one more person; it is forgotten with the browser."""
        key = secrets.token_urlsafe(16)
        # Relative: behind a proxy the page may lie in a folder.
        page = OperatorPage(self._client, self.feed, f"picture/{key}", self._quick_questions)
        self._people[key] = page.conversation

        def forget() -> None:
            self._people.pop(key).close()

        browser.on_delete(forget)
        ui.timer(_REST_EVERY_S, self._rest)

    def feed(self, camera: str) -> CameraFeed:
        """Return the frames of a camera; an empty name is the first camera."""
        if camera not in self._feeds:
            self._feeds[camera] = CameraFeed(self._client, camera)
        return self._feeds[camera]

    async def picture(self, key: str, after: int) -> Response:
        """Return one person's next frame: 204 if there is none for a while."""
        person = self._people.get(key)
        if person is None:
            return PlainTextResponse("Load the page again.", 404)
        frame = await person.next_frame(after)
        if frame is None:
            return Response(status_code=204)
        data = packed(frame, await person.jpeg(frame))
        return Response(
            data, media_type="application/octet-stream", headers={"cache-control": "no-store"}
        )

    def end(self) -> None:
        """End the cameras' watches, and what browsers wait for."""
        for feed in self._feeds.values():
            feed.close()
        for person in self._people.values():
            person.wake()

    def _rest(self) -> None:
        for feed in self._feeds.values():
            feed.rest()


def make_app(pages: OperatorPages, host: str, token: str = "") -> AccessGuard:
    """Return the pages as an ASGI application; there is one in a process.

    Raises:
        RequestError: as `access.check_token`.
    """
    app = FastAPI(openapi_url=None)

    @app.get("/picture/{key}")
    async def picture(key: str, after: int = 0) -> Response:
        return await pages.picture(key, after)

    @ui.page("/")
    def page(client: Client) -> None:
        pages.build(client)

    guard = AccessGuard(app, host, token)
    ui.run_with(
        app,
        title="Ask the robot's camera",
        dark=None,
        tailwind=False,
        reconnect_timeout=_AWAY_S,
        show_welcome_message=False,
    )
    return guard


def serve(
    pages: OperatorPages,
    listening: socket.socket,
    on_start: Callable[[], None],
    *,
    host: str,
    token: str = "",
) -> None:
    """Serve until the process is told to end (SIGINT, SIGTERM).

    Raises:
        RequestError: as `access.check_token`.
    """
    app = make_app(pages, host, token)
    logging.getLogger("nicegui").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        # Addresses of pictures are secrets of a person; they are not for a log.
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=_END_S,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_start()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            pages.end()
            await super().shutdown(sockets)

    # uvicorn ends in order, then raises the signal again.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listening])
