"""Shared by the commands: the logger, progress bars, and a quiet import of TensorFlow."""

import logging
import os
import sys

import click

logger = logging.getLogger("keras_edsr")


def import_tensorflow():
    """Imports TensorFlow without the messages that its C++ libraries write to stderr at every log level.

    The libraries bypass `sys.stderr` while they are loaded and while they search for devices.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def open_bar(*columns):
    """Returns a progress bar on stderr, which is visible only on a terminal and without --quiet."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *map(TextColumn, columns),
        console=(console := Console(stderr=True)),
        disable=not console.is_terminal or logger.level > logging.INFO,
        transient=True,
        redirect_stdout=False,  # keeps results on stdout; the bar is on stderr
    )


def print_beside(bar, result):
    """Prints a result to stdout, above the progress bar if both are on one terminal."""
    if sys.stdout.isatty() and not bar.disable:
        bar.console.print(str(result), markup=False, highlight=False, soft_wrap=True)
    else:
        click.echo(result)
