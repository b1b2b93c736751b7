"""Seconds of a training step: `fit`, a plain tf.function loop, and PyTorch, on the same network and batch.

python examples/benchmarks/training_step.py

Each round takes every candidate in turn for some steps, so that a machine whose speed drifts slows all of them; the
ratios are medians over the rounds. PyTorch is left out where it is not installed (`pip install torch`).
Run for README.
"""

import argparse
import importlib.util
import platform
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

import keras_edsr

NETS = {"baseline 16x64": (16, 64), "compact 8x32": (8, 32)}
SCALE = 2


def main():
    """Prints a table per network: seconds a step, and the ratio to `fit`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="in each round")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--patch-size", type=int, default=48)
    args = parser.parse_args()
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {platform.processor() or platform.machine()}")
    for name, (num_blocks, filters) in NETS.items():
        batch = random_batch(args.batch_size, args.patch_size)
        candidates = {
            "keras_edsr fit": fit_steps(num_blocks, filters, batch),
            "plain tf.function": loop_steps(num_blocks, filters, batch),
        }
        if importlib.util.find_spec("torch"):
            candidates["PyTorch"] = torch_steps(num_blocks, filters, batch)
        print(f"\n{name}, x{SCALE}, {args.batch_size} LR patches of {args.patch_size}x{args.patch_size}")
        report(candidates, args.rounds, args.steps)


def report(candidates, rounds, steps):
    """Runs the candidates in turn, prints medians and each one's ratio to the first."""
    times = {name: [] for name in candidates}
    for run in candidates.values():
        run(2)  # traces, and fills the caches
    for _ in range(rounds):
        for name, run in candidates.items():
            start = time.perf_counter()
            run(steps)
            times[name].append((time.perf_counter() - start) / steps)
    first = next(iter(times.values()))
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(first, values, strict=True))
        print(f"  {name:18} {statistics.median(values):7.3f} s a step   fit takes {ratio:.2f} x its time")


def random_batch(batch_size, patch_size):
    """Returns uint8 patches (lr, hr)."""
    random = np.random.default_rng(0)
    lr = random.integers(0, 256, (batch_size, patch_size, patch_size, 3), np.uint8)
    return lr, lr.repeat(SCALE, axis=1).repeat(SCALE, axis=2)


def fit_steps(num_blocks, filters, batch):
    """Returns a function of a number of steps: `fit` as a user calls it."""
    model = keras_edsr.EDSR(SCALE, num_blocks, filters, residual_scaling=1.0)
    data = tf.data.Dataset.from_tensors(batch).repeat()
    return lambda steps: model.fit(data, steps_per_epoch=steps, verbose=0)


def loop_steps(num_blocks, filters, batch):
    """Returns a function of a number of steps: the least that a TensorFlow user could write."""
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
