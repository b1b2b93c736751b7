"""What several commands use: messages, progress bars, and TensorFlow imported quietly."""

import logging
import os
import sys

import click

logger = logging.getLogger("keras_edsr")


def import_tensorflow():
    """Imports TensorFlow without the notes that its libraries write to stderr whatever the log level.

    They are written by C++, past `sys.stderr`, while it is loaded and while it looks for devices.
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
    """A progress bar on stderr, shown only on a terminal and not with --quiet."""
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
        redirect_stdout=False,  # results are for stdout, and the bar is on stderr
    )


def print_beside(bar, result):
    """Prints a result to stdout while a bar is on stderr: above the bar, if both are one terminal."""
    if sys.stdout.isatty() and not bar.disable:
        bar.console.print(str(result), markup=False, highlight=False, soft_wrap=True)
    else:
        click.echo(result)
