"""Shows all steps on sample photographs: upscale, compare with bicubic, train briefly, export, upscale from the export.

python examples/quickstart.py

It takes about two minutes on two cores. `.ci/run` runs it.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import keras_edsr
from keras_edsr.evaluation import psnr
from keras_edsr.image_io import read_image, write_image
from keras_edsr.image_ops import crop_border, luma

IMAGES = Path(__file__).parent / "images"
PRESET = "edsr_compact_x2"
SCALE = 2


def main():
    """Runs every step; the results are in the folder that `--output` names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=240, help="of training; at least 3")
    parser.add_argument("--output", type=Path, default=Path("quickstart"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    photo = read_image(IMAGES / "test" / "astronaut.png")

    print(f"1. Upscale a photograph with the weights that ship, {PRESET}.")
    start = time.perf_counter()
    big = keras_edsr.upscale(PRESET, photo)
    write_image(args.output / "astronaut_x2.png", big, overwrite=True)
    print(f"   {photo.shape[1]}x{photo.shape[0]} to {big.shape[1]}x{big.shape[0]}: {time.perf_counter() - start:.1f} s")

    print(f"2. Train them for {args.steps} more steps on four photographs.")
    model = train(args.steps)
    model.save(args.output / "edsr_x2.keras")

    print("3. Compare on a photograph that neither training has seen.")
    candidates = {"bicubic": "bicubic", "as shipped": PRESET, "trained on": model}
    for name, candidate in candidates.items():
        scores = keras_edsr.evaluate(candidate, IMAGES / "test", SCALE)
        print(f"   {name:11} {scores['psnr']:.2f} dB  SSIM {scores['ssim']:.4f}")

    print("4. Export the model for TensorFlow Serving, and upscale the photograph from there.")
    saved_model = keras_edsr.export_saved_model(model, args.output / "serving", overwrite=True)
    served = keras_edsr.upscale(saved_model, photo)
    write_image(args.output / "astronaut_x2_served.png", served, overwrite=True)
    same = np.array_equal(served, keras_edsr.upscale(model, photo))
    print(f"   {saved_model}: {'the same pixels' if same else 'OTHER PIXELS'} as the model's")

    comparison = args.output / "comparison.png"
    compare(PRESET, photo).save(comparison)
    print(f"5. Look at {comparison}.")


def train(steps):
    """Returns the shipped EDSR, trained further with a recipe for a minute: the paper's has 300,000 steps at 1e-4."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras_edsr.EDSR.from_preset(PRESET)
    schedule = keras.optimizers.schedules.CosineDecay(3e-5, decay_steps=steps)
    model.compile(keras.optimizers.Adam(schedule, global_clipnorm=40.0), loss="mae")
    patches = keras_edsr.data.image_pairs(IMAGES / "train", SCALE, patch_size=32)
    model.fit(patches, steps_per_epoch=steps // 3, epochs=3, verbose=2)
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
