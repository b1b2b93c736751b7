"""What is being upscaled, by session, so that it can be stopped: others wait for the network."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(Exception):
    """Somebody pressed Stop, chose another picture, or left."""


class Running:
    """The work that goes on, one piece a session.

    A second piece of a session takes the first one's place; the first was stopped before it, and is at its last tile.
    """

    def __init__(self) -> None:
        self._stops: dict[str | None, threading.Event] = {}

    @contextmanager
    def __call__(self, session: str | None) -> Iterator[threading.Event]:
        """Yields what is set when the session's work is to stop."""
        stop = self._stops[session] = threading.Event()
        try:
            yield stop
        finally:
            if self._stops.get(session) is stop:
                del self._stops[session]

    def stop(self, session: str | None) -> None:
        """Stops the session's work, if there is any, after the tile that it is at."""
        if (stop := self._stops.get(session)) is not None:
            stop.set()
