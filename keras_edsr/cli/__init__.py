"""The door: each command has a file here; it parses, calls one verb and prints.

Results go to stdout, progress and logs to stderr. Exit 0 done, 1 failed, 2 wrongly called.
TensorFlow is imported inside the commands, so that `--help` answers at once.
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
    """A group whose commands end with one line and exit 1 when a verb refuses."""

    def invoke(self, ctx):
        """Runs the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader, such as `head`, has enough: click knows what to do
        except (ValueError, OSError, ArithmeticError) as error:
            raise click.ClickException(one_line(error)) from error


class _Stderr(logging.Handler):
    """Writes to `sys.stderr` as it is when a line comes: above a progress bar while there is one."""

    def emit(self, record):
        print(self.format(record), file=sys.stderr)


@click.group(cls=Door, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keras-edsr")
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors on stderr.")
def main(quiet):
    """EDSR and MDSR: single-image super-resolution (Lim et al., CVPRW 2017)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files are printed as they are, UTF-8 or not
    if not logger.handlers:  # a second call in one process, as in tests
        logger.addHandler(_Stderr())
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


for _command in (train, upscale, evaluate, downscale, degrade, convert, export, demo, info):
    main.add_command(_command)
