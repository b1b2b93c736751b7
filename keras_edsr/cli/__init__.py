"""The command line. Each command has a module here that parses options, calls one function and prints.

Results go to stdout, progress and logs to stderr. The exit status is 0 (done), 1 (failed) or 2 (wrong usage).
The commands import TensorFlow when they run, so that `--help` is instant.
"""

import io
import logging
import os
import sys

import click

from .._version import __version__
from ..files import one_line
from ._convert import convert
from ._degrade import degrade
from ._demo import demo
from ._downscale import downscale
from ._evaluate import evaluate
from ._export import export
from ._info import info
from ._shared import logger
from ._train import train
from ._upscale import upscale


class Door(click.Group):
    """A group whose commands print one line and exit with status 1 on an error of the input."""

    def invoke(self, ctx):
        """Runs the command that the user named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader, such as `head`, has closed the pipe: click handles this
        except (ValueError, OSError, ArithmeticError) as error:
            raise click.ClickException(one_line(error)) from error


class _Stderr(logging.Handler):
    """Writes to the current `sys.stderr`, which a progress bar replaces to keep lines above itself."""

    def emit(self, record):
        print(self.format(record), file=sys.stderr)


@click.group(cls=Door, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keras-edsr")
@click.option("-q", "--quiet", is_flag=True, help="Print only warnings and errors to standard error.")
def main(quiet):
    """Train, run and export EDSR and MDSR, networks for image super-resolution (Lim et al., 2017)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # prints names of files unchanged, UTF-8 or not
    if not logger.handlers:  # False for a second call in one process, as in tests
        logger.addHandler(_Stderr())
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


for _command in (train, upscale, evaluate, downscale, degrade, convert, export, demo, info):
    main.add_command(_command)
