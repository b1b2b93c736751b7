"""The command `train`."""

import re
import shlex
import sys
from pathlib import Path

import click

from ..training.config import in_words, settings
from ._help import OTHER, Command, option
from ._shared import import_tensorflow, open_bar

_GROUPS = {
    "Images": ("hr", "lr", "div2k", "degradation", "validation", "validation_lr", "patch_size", "skip_small"),
    "Network": ("model", "scale", "num_blocks", "filters", "residual_scaling", "init_from", "fit_tail"),
    "Run": ("output", "steps", "batch_size", "checkpoint_every", "seed", "precision", "devices"),
    "Learning rate": ("learning_rate", "schedule", "halve_every", "final_learning_rate"),
    "Optimizer": ("beta_1", "beta_2", "epsilon", "clip_norm", "average", "loss_spike_factor"),
}


def _scales(context, parameter, value):
    if value is None:
        return None
    try:
        scales = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a valid scale. Pass an integer, or several with commas.") from None
    return scales if len(scales) > 1 else scales[0]


def _with_settings(command):
    """Adds an option for each setting of a run, group by group."""
    about = settings()
    grouped = [(name, group) for group, names in _GROUPS.items() for name in names]
    for name, group in reversed(grouped + [(name, OTHER) for name in about.keys() - dict(grouped).keys()]):
        command = _option(name, group, about[name])(command)
    return command


def _option(name, group, about):
    flag = f"--{name.replace('_', '-')}"
    default = about.of_command
    shown = about.default if default is None else in_words(default)
    text = re.sub(r"`(\w+)`", lambda found: f"--{found[1].replace('_', '-')}", about.help)
    extra = {"help": f"{text} Default: {shown or 'none'}.", "default": default, "group": group}
    if name == "output":
        extra |= {"help": text, "required": True}
    if about.kind is bool:
        return option(flag, is_flag=True, **{**extra, "help": text})
    if about.kind == "scales":
        return option(flag, callback=_scales, metavar="S[,S...]", **extra)
    choices = click.Choice(about.kind) if isinstance(about.kind, tuple) else about.kind
    kind = click.Path() if about.kind == "path" else choices
    return option(flag, type=kind, **extra)


@click.command(
    cls=Command,
    examples=(
        "keras-edsr train --hr photos/ --output runs/photos --scale 2 --num-blocks 16 --filters 64",
        "keras-edsr train --div2k DIV2K/ --output runs/x4 --scale 4 --init-from runs/x2/best.keras --fit-tail",
        "keras-edsr train --hr photos/ --output runs/real --degradation photo --init-from edsr_compact_x2 "
        "--num-blocks 8 --filters 32",
        "keras-edsr train --div2k DIV2K/ --output runs/mdsr --model mdsr --scale 2,3,4",
    ),
)
@_with_settings
@option(
    "--config",
    group="Run",
    type=click.Path(exists=True, dir_okay=False),
    help="Configuration (config.json) of a run to repeat; other options replace its values. Default: none.",
)
def train(config, **options):
    """Train EDSR or MDSR, by default with the paper's recipe.

    The command writes the configuration, a checkpoint, best.keras, last.keras, the history and TensorBoard's logs to
    the folder of --output. The same command resumes a stopped run, with the same result as a run that was not stopped.
    --steps may then be larger, unless the schedule is cosine.

    If the environment variable TF_CONFIG names several workers, run the same command on each. They need a shared folder
    for --output and for the images, and --devices counts the GPUs of one worker.
    """
    given = _given(options, config)
    if config is None and ("hr" in given) == ("div2k" in given):
        raise click.UsageError("Pass either --hr or --div2k.")
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
        click.echo(f"Resume with: {_this_command()}", err=True)
    else:
        click.echo(best)


def _given(options, config):
    """Returns the options to use: with a configuration only those of the command line, not the defaults."""
    given = {name: value for name, value in options.items() if value is not None}
    if config is None:
        return given
    source = click.get_current_context().get_parameter_source
    given = {n: v for n, v in given.items() if source(n) is click.core.ParameterSource.COMMANDLINE}
    # Other images replace those of the configuration and the settings that belong to them.
    if "hr" in given:
        given = {"lr": None, "div2k": None, **given}
    elif "div2k" in given:
        given = {"hr": None, "lr": None, **given}
    return {"validation_lr": None, **given} if "validation" in given else given


def _this_command():
    """Returns the command line of this process, quoted for a shell."""
    program = sys.argv[:1]
    if program[0].endswith("__main__.py"):
        program = [sys.executable, "-m", "keras_edsr"]
    return shlex.join([*program, *sys.argv[1:]])
