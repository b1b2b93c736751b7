"""The upscaling work of each session, and how to stop it: sessions wait for each other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(Exception):
    """The user pressed Stop, chose another picture, or left the page."""


class Running:
    """The work in progress, one task a session.

    A session's second task replaces its first. That one was stopped before and is finishing its last tile.
    """

    def __init__(self) -> None:
        self._stops: dict[str | None, threading.Event] = {}

    @contextmanager
    def __call__(self, session: str | None) -> Iterator[threading.Event]:
        """Yields the event that is set when the session's work must stop."""
        stop = self._stops[session] = threading.Event()
        try:
            yield stop
        finally:
            if self._stops.get(session) is stop:
                del self._stops[session]

    def stop(self, session: str | None) -> None:
        """Stops the session's work, if there is any, after the current tile."""
        if (stop := self._stops.get(session)) is not None:
            stop.set()
