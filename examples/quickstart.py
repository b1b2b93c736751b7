"""The whole way on sample photographs: train a small EDSR x2, compare it with bicubic, save it, upscale an image.

python examples/quickstart.py
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import keras_edsr
from keras_edsr.evaluation import psnr
from keras_edsr.image_io import read_image, write_image
from keras_edsr.image_ops import crop_border, luma

IMAGES = Path(__file__).parent / "images"
SCALE = 2


def main():
    """Runs every step; the results are in the folder that `--output` names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--output", type=Path, default=Path("quickstart"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    print("1. Train an EDSR x2 of 8 blocks and 32 filters on four photographs.")
    model = train(args.steps)
    model.save(args.output / "edsr_x2.keras")

    print("2. Compare it with bicubic on a photograph that it did not see.")
    test = IMAGES / "test"
    for name, candidate in {"bicubic": "bicubic", "EDSR": model}.items():
        scores = keras_edsr.evaluate(candidate, test, SCALE)
        print(f"   {name:8} {scores['psnr']:.2f} dB  SSIM {scores['ssim']:.4f}")

    print("3. Upscale the photograph as it is, to twice its size.")
    photo = read_image(test / "astronaut.png")
    big = keras_edsr.upscale(model, photo)
    write_image(args.output / "astronaut_x2.png", big, overwrite=True)

    comparison = args.output / "comparison.png"
    compare(model, photo).save(comparison)
    print(f"4. Look at {comparison}.")


def train(steps):
    """Returns an EDSR trained with a recipe for minutes: the paper's has 300,000 steps at 1e-4."""
    keras.utils.set_random_seed(0)
    model = keras_edsr.EDSR(scale=SCALE, num_blocks=8, filters=32, residual_scaling=1.0)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, decay_steps=steps)
    model.compile(keras.optimizers.Adam(schedule, global_clipnorm=40.0), loss="mae")
    patches = keras_edsr.data.image_pairs(IMAGES / "train", SCALE, patch_size=32)
    model.fit(patches, steps_per_epoch=steps // 6, epochs=6, verbose=2)
    return model


def compare(model, hr, corner=(338, 122), size=100):
    """Returns a picture: LR, bicubic, EDSR and HR of one region, with the whole image's PSNR."""
    lr = keras_edsr.imresize(hr, 1 / SCALE)
    results = {
        "LR": np.repeat(np.repeat(lr, SCALE, axis=0), SCALE, axis=1),
        "bicubic": keras_edsr.imresize(lr, SCALE),
        "EDSR": keras_edsr.upscale(model, lr),
        "HR": hr,
    }
    top, left = corner
    panels = {}
    for name, image in results.items():
        region = Image.fromarray(image[top : top + size, left : left + size])
        label = name
        if name != "HR":
            label += f"  {psnr(_border_off(luma(image)), _border_off(luma(hr))):.2f} dB"
        panels[label] = region.resize((3 * size, 3 * size), Image.Resampling.NEAREST)
    return side_by_side(panels)


def _border_off(image):
    return crop_border(image, SCALE)


def side_by_side(panels, gap=8, caption=30):
    """Returns one picture of several of equal size, each with its label under it."""
    width, height = next(iter(panels.values())).size
    sheet = Image.new("RGB", (len(panels) * (width + gap) - gap, height + caption), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (label, panel) in enumerate(panels.items()):
        left = i * (width + gap)
        sheet.paste(panel, (left, 0))
        draw.text((left + 4, height + 4), label, "black", ImageFont.load_default(18))
    return sheet


if __name__ == "__main__":
    main()
