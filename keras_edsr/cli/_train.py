"""The command `train`."""

import re
import shlex
import sys
from pathlib import Path

import click

from ..training.config import in_words, settings
from ._shared import import_tensorflow, open_bar


def _scales(context, parameter, value):
    if value is None:
        return None
    try:
        scales = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a valid integer, nor several with commas.") from None
    return scales if len(scales) > 1 else scales[0]


def _with_settings(command):
    """Adds an option for each setting of a run."""
    for name, about in reversed(settings().items()):
        command = _option(name, about)(command)
    return command


def _option(name, about):
    flag = f"--{name.replace('_', '-')}"
    default = about.of_command
    shown = about.default if default is None else in_words(default)
    text = re.sub(r"`(\w+)`", lambda found: f"--{found[1].replace('_', '-')}", about.help)
    extra = {"help": text if shown is None else f"{text} Default: {shown}.", "default": default}
    if about.kind is bool:
        return click.option(flag, is_flag=True, **extra)
    if about.kind == "scales":
        return click.option(flag, callback=_scales, metavar="S[,S...]", **extra)
    choices = click.Choice(about.kind) if isinstance(about.kind, tuple) else about.kind
    kind = click.Path() if about.kind == "path" else choices
    return click.option(flag, type=kind, required=name == "output", **extra)


@click.command()
@_with_settings
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    help="The config.json of a run to do again; options given beside it replace its values.",
)
def train(config, **options):
    """Train EDSR or MDSR; the defaults are the paper's recipe.

    The folder OUTPUT gets config.json, starts.jsonl (commands, dates, versions), history.json, last.keras, best.keras
    (by PSNR, where there are images to validate on), a checkpoint, and logs for TensorBoard.
    The same command goes on with a run that was stopped, with the same result as if it had not been; --steps may be
    more than before, unless the schedule is cosine.

    Where the environment variable TF_CONFIG names several workers, the same command on each trains with all of them
    (MultiWorkerMirroredStrategy): OUTPUT and the images lie where all see them, and --devices counts each one's GPUs.
    """
    given = _given(options, config)
    if config is None and ("hr" in given) == ("div2k" in given):
        raise click.UsageError("Give either --hr or --div2k.")
    import_tensorflow()
    from ..training import Stopped, TrainConfig
    from ..training import train as run

    settings = TrainConfig.load(Path(config), **given) if config else TrainConfig(**given)
    with open_bar("{task.fields[note]}") as bar:
        task = bar.add_task("training", total=settings.steps, note="")

        def show(step, steps, loss):
            bar.update(task, completed=step, note=f"loss {loss:.3f}")

        try:
            best = run(settings, show)
        except Stopped:
            best = None
    if best is None:
        click.echo(f"Go on with: {_this_command()}", err=True)
    else:
        click.echo(best)


def _given(options, config):
    """The options to take; beside a configuration only those of the command line, not the defaults."""
    given = {name: value for name, value in options.items() if value is not None}
    if config is None:
        return given
    source = click.get_current_context().get_parameter_source
    given = {n: v for n, v in given.items() if source(n) is click.core.ParameterSource.COMMANDLINE}
    # Images from elsewhere take the place of the configuration's, and of what belongs to those.
    if "hr" in given:
        given = {"lr": None, "div2k": None, "degradation": "bicubic", **given}
    elif "div2k" in given:
        given = {"hr": None, "lr": None, **given}
    return {"validation_lr": None, **given} if "validation" in given else given


def _this_command():
    """The command line that this process was started with, to be pasted."""
    program = sys.argv[:1]
    if program[0].endswith("__main__.py"):
        program = [sys.executable, "-m", "keras_edsr"]
    return shlex.join([*program, *sys.argv[1:]])
