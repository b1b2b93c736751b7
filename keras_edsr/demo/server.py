"""Serving the page: on this machine alone unless told otherwise, and without a call to any other."""

import importlib.util
import logging
import os
import signal
import socket
import tempfile
import threading
from types import TracebackType
from typing import Any

from .choices import Choice
from .pictures import MAX_PIXELS

logger = logging.getLogger("keras_edsr")


class Server:
    """The page, served until it is closed; a context manager.

    Args:
        choices: The models that the page offers, at least one.
        host: The address to serve at; 127.0.0.1 is reached from this machine alone, 0.0.0.0 from any.
        port: TCP port.
        max_pixels: The most that a picture may have, all frames together.
        share: Whether Gradio's servers are to give the page a public address; pictures then pass through them.

    Attributes:
        url: Where the page is.

    Raises:
        ValueError: Gradio is not installed, or the page can't be served there; one line.
    """

    def __init__(
        self,
        choices: list[Choice],
        host: str = "127.0.0.1",
        port: int = 7860,
        max_pixels: int = MAX_PIXELS,
        share: bool = False,
    ):
        check_installed()
        _check_address(host, port)
        self._folder = tempfile.TemporaryDirectory(prefix="keras-edsr-demo-")
        _set_environment(self._folder.name, host)
        from . import page

        self._page = page.build_page(choices, max_pixels)
        try:
            self.url = _launch(self._page, page, host, port, max_pixels, share)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the server; what was uploaded and made is deleted."""
        self._page.close(verbose=False)
        self._folder.cleanup()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(choices: list[Choice], **options: Any) -> None:
    """Serves the page, prints where it is, and returns when it is interrupted (Ctrl-C, or SIGTERM).

    Args:
        choices: As `Server` takes.
        **options: As `Server` takes.

    Raises:
        ValueError: As `Server`.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the files are deleted
    try:
        with Server(choices, **options) as server:
            print(server.url, flush=True)
            logger.info("Ctrl-C ends the demo.")
            threading.Event().wait()
    except KeyboardInterrupt:
        pass


def check_installed() -> None:
    """Raises ValueError unless Gradio is installed."""
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("The demo needs gradio: pip install 'keras-edsr[demo]'")


def _set_environment(folder: str, host: str) -> None:
    """Gradio reads these when it is imported and when components are made."""
    # It asks itself whether it has started: not through a proxy.
    direct = ",".join(
        filter(None, (os.environ.get("NO_PROXY"), os.environ.get("no_proxy"), "127.0.0.1,localhost", host))
    )
    os.environ |= {
        "GRADIO_TEMP_DIR": folder,  # uploads and results lie here, and go with the server
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def _check_address(host: str, port: int) -> None:
    """Raises ValueError unless the address is free: importing gradio takes seconds, and its message misleads."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]  # the address follows, again
        raise ValueError(
            f"Cannot serve at {host}, port {port}: {reason.lower()}. Pass another --port, or --host."
        ) from error


def _launch(blocks: Any, page: Any, host: str, port: int, max_pixels: int, share: bool) -> str:
    _, local, public = blocks.launch(
        server_name=host,
        server_port=port,
        share=share,
        theme=page.THEME,
        css_paths=page.CSS,
        allowed_paths=[str(page.SAMPLES)],
        # Uncompressed, 16 bits, with alpha; and room for a photograph that is refused with a better message.
        max_file_size=8 * max_pixels + 2**26,
        prevent_thread_lock=True,
        quiet=True,
        show_error=True,
        ssr_mode=False,
        pwa=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
    )
    return public or local
