"""Serves the page, by default to this machine alone, and without contacting any other."""

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
    """Serves the page until it is closed; a context manager.

    Args:
        choices: Models that the page offers, at least one.
        host: Address to serve at: with 127.0.0.1 only this machine can connect, with 0.0.0.0 any machine can.
        port: TCP port to listen on.
        max_pixels: The largest number of pixels that a picture may have, all frames together.
        share: Boolean, whether Gradio's servers give the page a public address; pictures then pass through them.

    Attributes:
        url: Address of the page.

    Raises:
        ValueError: If Gradio is not installed or the address cannot be used. The message has one line.
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
        """Stops the server and deletes what was uploaded and made."""
        self._page.close(verbose=False)
        self._folder.cleanup()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(choices: list[Choice], **options: Any) -> None:
    """Serves the page, prints its address, and returns on Ctrl-C or SIGTERM.

    Args:
        choices: As `Server` takes them.
        **options: As `Server` takes them.

    Raises:
        ValueError: If `Server` raises it.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the files are deleted
    try:
        with Server(choices, **options) as server:
            print(server.url, flush=True)
            logger.info("Press Ctrl-C to stop the demo.")
            threading.Event().wait()
    except KeyboardInterrupt:
        pass


def check_installed() -> None:
    """Checks that Gradio is installed.

    Raises:
        ValueError: If it is not.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("The demo needs gradio: pip install 'keras-edsr[demo]'")


def _set_environment(folder: str, host: str) -> None:
    """Sets what Gradio reads when it is imported and when components are made."""
    # Gradio requests its own address to see whether it has started: that request must not go through a proxy.
    direct = ",".join(
        filter(None, (os.environ.get("NO_PROXY"), os.environ.get("no_proxy"), "127.0.0.1,localhost", host))
    )
    os.environ |= {
        "GRADIO_TEMP_DIR": folder,  # holds uploads and results; `close` deletes it
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def _check_address(host: str, port: int) -> None:
    """Raises ValueError if the address is in use: importing gradio takes seconds, and its message misleads."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]  # the rest repeats the address
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
        # Room for uncompressed 16-bit pixels with alpha, and for a photograph that `read_upload` rejects more clearly.
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
