"""Fine-tune a super-resolution model with Keras: load a preset, train it on your own images, evaluate, save, export.

python examples/keras_guide.py --images FOLDER [--output FOLDER] [--epochs 3] [--steps 20]
KERAS_BACKEND=jax or torch before it runs the same with another backend; the last section needs TensorFlow.
Two CPU cores, defaults: a minute or two.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

import keras_edsr

SCALE = 2
PATCH = 32  # LR pixels


def main():
    """Runs the sections of the guide, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--output", type=Path, default=Path("keras_guide"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="in each epoch")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    # === Load a pretrained model ===
    # It is a keras.Model, compiled with the paper's recipe: L1, Adam at 1e-4, and PSNR to watch.
    model = keras_edsr.EDSR.from_preset("edsr_compact_x2")
    model.summary()

    # === The data ===
    # A PyDataset of your own: any pairs of LR and HR patches, uint8 or float in 0..255, will do. (With TensorFlow a
    # tf.data.Dataset does as well, with PyTorch a DataLoader.)
    pairs = keras_edsr.data.ImagePairs.from_folder(args.images, SCALE)
    train = RandomPatches(pairs, steps=args.steps)
    # Ready-made: whole images, one a batch, to validate on.
    validation = keras_edsr.data.image_pairs(args.images, SCALE, patch_size=None)

    # === Fine-tune with stock callbacks ===
    best = args.output / "best.keras"
    callbacks = [
        keras.callbacks.ModelCheckpoint(best, monitor="val_psnr", mode="max", save_best_only=True),
        keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=2),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=5),
        keras.callbacks.CSVLogger(args.output / "log.csv"),
    ]
    # Freeze the head: recompile, as after any change of `trainable`.
    model.get_layer("head").trainable = False
    model.compile()  # "auto", "auto", "auto": the paper's recipe again
    model.fit(train, validation_data=validation, epochs=args.epochs, callbacks=callbacks, shuffle=False)

    # === Evaluate ===
    # On the spot with Keras, or by the benchmarks' protocol: Y of 8-bit images, a border cropped.
    scores = model.evaluate(validation, return_dict=True)
    print(f"Keras: PSNR {scores['psnr']:.2f} dB of RGB")
    report = keras_edsr.evaluate(model, args.images, SCALE)
    print(f"Benchmark protocol: PSNR {report['psnr']:.2f} dB, SSIM {report['ssim']:.4f}")

    # === Save and load ===
    again = keras.saving.load_model(best)  # importing keras_edsr is enough; the optimizer's state comes along
    print(f"Loaded an {type(again).__name__} after {int(keras.ops.convert_to_numpy(again.optimizer.iterations))} steps")

    # === Upscale a photograph of any size ===
    image = pairs.lr(0, SCALE)
    print(f"{image.shape} -> {keras_edsr.upscale(again, image).shape}")

    # === Export ===
    if keras.backend.backend() == "tensorflow":
        keras_edsr.export_saved_model(again, args.output / "saved_model", overwrite=True)
        print(f"Exported to {args.output / 'saved_model'}")


class RandomPatches(keras.utils.PyDataset):
    """Batches of patches at random places."""

    def __init__(self, pairs, steps, batch_size=8, **kwargs):
        super().__init__(**kwargs)
        self.pairs, self.steps, self.batch_size = pairs, steps, batch_size

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        random = np.random.default_rng(step)
        patches = [self._patch(random) for _ in range(self.batch_size)]
        return tuple(map(np.stack, zip(*patches, strict=True)))

    def _patch(self, random):
        index = random.integers(len(self.pairs))
        lr, hr = self.pairs.lr(index, SCALE), self.pairs.hr(index, SCALE)
        top, left = (random.integers(size - PATCH + 1) for size in lr.shape[:2])
        lr = lr[top : top + PATCH, left : left + PATCH]
        hr = hr[SCALE * top : SCALE * (top + PATCH), SCALE * left : SCALE * (left + PATCH)]
        return lr, hr


if __name__ == "__main__":
    main()
