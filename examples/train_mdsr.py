"""The paper's MDSR on DIV2K: x2, x3 and x4 in one network, each batch one random scale.

python examples/train_mdsr.py --div2k DIV2K --output runs --size baseline

Run on small images and tiny networks (tests/test_examples_train.py), not as it stands: that takes DIV2K and a GPU (the
paper: 4 days on a Titan X for the final model). The published score to expect on DIV2K 0801-0900 (RGB,
`keras-edsr evaluate --protocol div2k`), x2 / x3 / x4, without self-ensemble: baseline 34.63 / 30.94 / 28.97 dB, final
34.92 / 31.22 / 29.24 dB (the official port's README). 650,000 steps, as the port's template has it; the paper does not
say.
"""

import argparse
from pathlib import Path

from keras_edsr.training import TrainConfig, train

NUM_BLOCKS = {"baseline": 16, "final": 80}


def main():
    """Trains the network; started again, it goes on where it stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--div2k", required=True, help="DIV2K's folder, TFDS's data folder, or the zips'")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", choices=NUM_BLOCKS, default="baseline")
    parser.add_argument("--precision", help="such as mixed_bfloat16")
    args = parser.parse_args()
    config = TrainConfig(
        output=str(args.output / f"mdsr_{args.size}"),
        div2k=args.div2k,
        model="mdsr",
        scale=(2, 3, 4),
        num_blocks=NUM_BLOCKS[args.size],
        filters=64,
        steps=650_000,
        precision=args.precision,
        loss_spike_factor=3.0,
    )
    print(train(config))


if __name__ == "__main__":
    main()
