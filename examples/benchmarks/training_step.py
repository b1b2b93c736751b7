"""Seconds of a training step: `fit` with each backend of Keras, a plain tf.function loop, and PyTorch alone.

python examples/benchmarks/training_step.py [--backends tensorflow jax torch] [--precision mixed_bfloat16]

Every backend runs in a process of its own. Within one, each round takes every candidate in turn for some steps, so that
a machine whose speed drifts slows all of them; the ratios are medians over the rounds. Beside the seconds of the clock
stand those of the processor, which other work on the machine changes little. What is not installed is left out
(`pip install torch 'jax[cpu]'`). mixed_bfloat16 is worth a try where the processor has AVX512_BF16 or AMX; the first
line says whether it has.
Run for README.
"""

import argparse
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np

import keras_edsr

NETS = {"baseline 16x64": (16, 64), "compact 8x32": (8, 32)}
SCALE = 2
BACKENDS = ("tensorflow", "jax", "torch")


def main():
    """Prints a table per backend and network: seconds a step, and the ratio to `fit`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="in each round")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--patch-size", type=int, default=48)
    parser.add_argument("--precision", default="float32", help="dtype policy of fit's model")
    parser.add_argument("--backends", nargs="+", default=[name for name in BACKENDS if importlib.util.find_spec(name)])
    args = parser.parse_args()
    if args.backends != [keras.backend.backend()]:
        for name in args.backends:
            command = [sys.executable, __file__, *sys.argv[1:], "--backends", name]
            subprocess.run(command, check=True, env={**os.environ, "KERAS_BACKEND": name})
        return
    has_bfloat16 = "has" if bfloat16_instructions() else "has no"
    print(f"\nKeras {keras.__version__} on {keras.backend.backend()}, {args.precision}; {platform.machine()}", end=" ")
    print(f"with {os.cpu_count()} cores, which {has_bfloat16} instructions for bfloat16", flush=True)
    for name, (num_blocks, filters) in NETS.items():
        batch = random_batch(args.batch_size, args.patch_size)
        candidates = {"keras_edsr fit": fit_steps(num_blocks, filters, batch, args.precision)}
        if keras.backend.backend() == "tensorflow":
            candidates["plain tf.function"] = loop_steps(num_blocks, filters, batch)
        if keras.backend.backend() == "torch":
            candidates["PyTorch alone"] = torch_steps(num_blocks, filters, batch)
        print(f"{name}, x{SCALE}, {args.batch_size} LR patches of {args.patch_size}x{args.patch_size}")
        report(candidates, args.rounds, args.steps)


def bfloat16_instructions():
    """Whether a Linux machine has them."""
    cpuinfo = Path("/proc/cpuinfo")
    words = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return bool(words & {"avx512_bf16", "amx_bf16"})


def report(candidates, rounds, steps):
    """Runs the candidates in turn, prints medians and each one's ratio to the first."""
    times = {name: [] for name in candidates}
    for run in candidates.values():
        run(2)  # traces, and fills the caches
    for _ in range(rounds):
        for name, run in candidates.items():
            start, cpu = time.perf_counter(), time.process_time()
            run(steps)
            times[name].append(((time.perf_counter() - start) / steps, (time.process_time() - cpu) / steps))
    first = next(iter(times.values()))
    for name, values in times.items():
        clock, cpu = (statistics.median(value[i] for value in values) for i in (0, 1))
        ratios = [statistics.median(a[i] / b[i] for a, b in zip(first, values, strict=True)) for i in (0, 1)]
        print(
            f"  {name:18} {clock:7.3f} s a step, {cpu:7.3f} s of the processor   "
            f"fit takes {ratios[0]:.2f} x its time, {ratios[1]:.2f} x its processor",
            flush=True,
        )


def random_batch(batch_size, patch_size):
    """Returns uint8 patches (lr, hr)."""
    random = np.random.default_rng(0)
    lr = random.integers(0, 256, (batch_size, patch_size, patch_size, 3), np.uint8)
    return lr, lr.repeat(SCALE, axis=1).repeat(SCALE, axis=2)


def fit_steps(num_blocks, filters, batch, precision):
    """Returns a function of a number of steps: `fit` as a user calls it."""
    model = keras_edsr.EDSR(SCALE, num_blocks, filters, residual_scaling=1.0, dtype=precision)
    data = Repeated(batch)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        data = tf.data.Dataset.from_tensors(batch).repeat()
    return lambda steps: model.fit(data, steps_per_epoch=steps, verbose=0, shuffle=False)


class Repeated(keras.utils.PyDataset):
    """One batch again and again."""

    num_batches = None

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def __getitem__(self, number):
        return self.batch


def loop_steps(num_blocks, filters, batch):
    """Returns a function of a number of steps: the least that a TensorFlow user could write."""
    import tensorflow as tf

    model = keras_edsr.EDSR(SCALE, num_blocks, filters, residual_scaling=1.0)
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(model.trainable_variables)
    data = iter(tf.data.Dataset.from_tensors(batch).repeat())

    @tf.function
    def step(lr, hr):
        with tf.GradientTape() as tape:
            sr = model(tf.cast(lr, tf.float32), training=True)
            loss = tf.reduce_mean(tf.abs(sr - tf.cast(hr, tf.float32)))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    def run(steps):
        for _ in range(steps):
            step(*next(data))

    return run


def torch_steps(num_blocks, filters, batch):
    """Returns a function of a number of steps: the same network in PyTorch, channels last."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU(True), nn.Conv2d(filters, filters, 3, padding=1)
            )

        def forward(self, x):
            return x + self.body(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv2d(3, filters, 3, padding=1)
            blocks = [Block() for _ in range(num_blocks)]
            self.body = nn.Sequential(*blocks, nn.Conv2d(filters, filters, 3, padding=1))
            self.tail = nn.Sequential(
                nn.Conv2d(filters, filters * SCALE**2, 3, padding=1),
                nn.PixelShuffle(SCALE),
                nn.Conv2d(filters, 3, 3, padding=1),
            )

        def forward(self, x):
            x = self.head(x - 110)
            return self.tail(x + self.body(x)) + 110

    model = Net().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    lr, hr = (
        torch.from_numpy(image).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
        for image in batch
    )

    def run(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.l1_loss(model(lr), hr).backward()
            optimizer.step()

    return run


if __name__ == "__main__":
    main()
