"""`keras-edsr`, killed by SIGKILL at a point: python killed.py POINT ARGUMENTS…

Points are `what:n`, the n-th time that this is about to happen:

    step      the end of a training step
    keras     a .keras file is half written
    save      the checkpoint is saved; best.keras and last.keras are of the new epoch
    half      the checkpoint is half written
    history   history.json is written; the checkpoint is new
    config    config.json gets its name

`stop` is no kill, but SIGTERM at a step; `interrupt` is SIGINT. `two`, before the point, splits the CPU
in two; a point may then be left out.
"""

import functools
import io
import os
import signal
import sys

import numpy as np

SIGNALS = {"stop": signal.SIGTERM, "interrupt": signal.SIGINT}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def on_call(owner, name, count, action):
    """Replaces a function so that its `count`-th call does `action(real, *args)` instead."""
    real = getattr(owner, name)
    calls = 0

    def replaced(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == count:
            return action(real, *args, **kwargs)
        return real(*args, **kwargs)

    setattr(owner, name, replaced)


def die_before(real, *args, **kwargs):
    die()


def stop_before(number, real, *args, **kwargs):
    os.kill(os.getpid(), number)
    return real(*args, **kwargs)


def die_halfway_of_checkpoint(real, file, **arrays):
    whole = io.BytesIO()
    real(whole, **arrays)
    file.write(whole.getvalue()[: whole.tell() // 2])
    file.flush()
    die()


def die_halfway_of_model(real, model, path, **kwargs):
    real(model, path, **kwargs)
    os.truncate(path, os.path.getsize(path) // 2)
    die()


def set_point(what, count):
    import keras

    from keras_edsr.training import _train, run

    session = _train._Session
    if what == "step":
        on_call(session, "after_step", count, die_before)
    elif what in SIGNALS:
        on_call(session, "after_step", count, functools.partial(stop_before, SIGNALS[what]))
    elif what == "keras":
        on_call(keras.Model, "save", count, die_halfway_of_model)
    elif what == "save":
        on_call(run.RunFolder, "save", count, die_before)
    elif what == "half":
        on_call(np, "savez", count, die_halfway_of_checkpoint)
    elif what == "history":
        on_call(run.RunFolder, "_save_history", count, die_before)
    elif what == "config":
        on_call(run.TrainConfig, "save", count, die_before_config)
    else:
        raise ValueError(what)


def die_before_config(real, config, path):
    path.with_name(".0123456789abcdef.part").write_text("{")
    die()


def split_cpu():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


if __name__ == "__main__":
    if sys.argv[1] == "two":
        split_cpu()
        del sys.argv[1]
    if ":" in sys.argv[1]:
        what, count = sys.argv.pop(1).split(":")
        set_point(what, int(count))
    from keras_edsr.cli import main

    sys.argv[0] = "keras-edsr"
    main()
