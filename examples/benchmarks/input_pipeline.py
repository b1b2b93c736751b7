"""Augmented patches a second: `image_pairs` beside decoding a file for every patch.

    python examples/benchmarks/input_pipeline.py --hr DIR

DIR holds photographs, the larger the better: DIV2K's are 2040x1356. Every way is timed in turn, several times over,
and the median is printed, because a shared machine is never equally fast twice: patches a second of the clock, and of
processor time, which hardly depends on what else runs. Run for README.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
import tensorflow as tf

from keras_edsr.data import ImagePairs, PatchSampler, random_patches
from keras_edsr.image_io import write_image


def main():
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        ways = make_ways(args, Path(folder))
        print(machine())
        print(
            f"{args.batch_size} patches of {args.patch_size}x{args.patch_size} (LR) a batch, x{args.scale}, flipped "
            f"and turned; median (lowest, highest) of {args.repeats} runs of {args.seconds:g} s\n"
        )
        rates = measure(ways, args)
    for name, runs in rates.items():
        wall, cpu = zip(*runs, strict=True)
        print(
            f"{name:52}{statistics.median(wall):9,.0f} patches/s  ({min(wall):,.0f}, {max(wall):,.0f}), "
            f"{statistics.median(cpu):,.0f} a second of processor time"
        )


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hr", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--patch-size", type=int, default=48, help="LR pixels")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3, help="length of a run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--degradation", default="photo", help="of the ways that degrade")
    return parser.parse_args()


def make_ways(args, folder):
    """Returns the ways to make batches: name -> function that gives an endless iterator."""
    start = time.perf_counter()
    pairs = ImagePairs.from_folder(args.hr, args.scale, cache_dir=folder).at_least(args.patch_size)
    print(f"{len(pairs)} images decoded, LR made: {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    ImagePairs.from_folder(args.hr, args.scale, cache_dir=folder)
    print(f"{len(pairs)} images decoded, LR from the cache: {time.perf_counter() - start:.1f} s")
    mapped = ImagePairs.from_folder(args.hr, args.scale, cache_dir=folder, max_ram_bytes=0).at_least(args.patch_size)
    options = {"patch_size": args.patch_size, "batch_size": args.batch_size}
    sampler = PatchSampler(pairs, **options)
    hr_alone = ImagePairs.from_folder(args.hr, args.scale, degradation=args.degradation).at_least(args.patch_size)
    degrading = PatchSampler(hr_alone, **options)
    decoding = decode_whole_images(write_files(pairs, args.scale, folder))
    return {
        "image_pairs, in memory": lambda: iter(sampler.dataset()),
        "image_pairs, memory map": lambda: iter(PatchSampler(mapped, **options).dataset()),
        "PatchSampler.batch alone, one thread": lambda: map(sampler.batch, iter(range(2**62))),
        f"image_pairs, degradation {args.degradation}": lambda: iter(degrading.dataset()),
        f"PatchSampler.batch alone, {args.degradation}, one thread": lambda: map(degrading.batch, iter(range(2**62))),
        "tf.data, decode, 16 patches (random_patches)": lambda: iter(
            random_patches(decoding, args.scale, patches_per_image=16, **options)
        ),
        "tf.data, decode for every patch": lambda: iter(
            random_patches(decoding, args.scale, patches_per_image=1, **options)
        ),
    }


def write_files(pairs, scale, folder):
    """Writes the pairs as PNG, as DIV2K comes, and returns the paths (lr, hr)."""
    paths = []
    for index in range(len(pairs)):
        lr, hr = folder / f"{index:04}x{scale}.png", folder / f"{index:04}.png"
        write_image(lr, pairs.lr(index, scale), compress_level=6)
        write_image(hr, pairs.hr(index, scale), compress_level=6)
        paths.append((str(lr), str(hr)))
    return paths


def decode_whole_images(paths):
    def decode(pair):
        lr, hr = (tf.io.decode_png(tf.io.read_file(pair[n]), channels=3) for n in range(2))
        return lr, hr

    return tf.data.Dataset.from_tensor_slices(paths).map(decode, num_parallel_calls=tf.data.AUTOTUNE)


def measure(ways, args):
    rates = {name: [] for name in ways}
    for _ in range(args.repeats):
        for name, make in ways.items():
            iterator = make()
            patches_a_second(iterator, args.batch_size, seconds=0.5)  # what it made ahead is used up
            rates[name].append(patches_a_second(iterator, args.batch_size, args.seconds))
    return rates


def patches_a_second(iterator, batch_size, seconds):
    """Patches a second of the clock, and of the time that processors worked for this process."""
    batches, start, worked = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - start) < seconds:
        next(iterator)
        batches += 1
    return batches * batch_size / elapsed, batches * batch_size / (time.process_time() - worked)


def machine():
    versions = {"Python": platform.python_version(), "TensorFlow": tf.__version__, "NumPy": np.__version__}
    versions["Pillow"] = PIL.__version__
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{processor()}, {os.cpu_count()} cores; {listed}"


def processor():
    """Names the processor as Linux does, elsewhere as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
