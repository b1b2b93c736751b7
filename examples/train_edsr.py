"""The paper's EDSR on DIV2K: x2 from scratch, then x3 and x4 from the trained x2.

python examples/train_edsr.py --div2k DIV2K --output runs --size baseline

Run on small images and tiny networks (tests/test_examples_train.py), not as it stands: that takes DIV2K and a GPU (the
paper: 8 days on a Titan X for the final models). The published score to expect on DIV2K 0801-0900 (RGB,
`keras-edsr evaluate --protocol div2k`), x2 / x3 / x4, without self-ensemble: baseline 34.61 / 30.92 / 28.95 dB (the
official port's README), final 35.03 / 31.26 / 29.25 dB (paper, table 3).
"""

import argparse
from pathlib import Path

from keras_edsr.training import TrainConfig, train

SIZES = {
    "baseline": {"num_blocks": 16, "filters": 64},
    "final": {"num_blocks": 32, "filters": 256},
}


def main():
    """Trains the three scales, one after the other; started again, it goes on where it stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--div2k", required=True, help="DIV2K's folder, TFDS's data folder, or the zips'")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="baseline")
    parser.add_argument("--precision", help="such as mixed_bfloat16")
    args = parser.parse_args()
    x2 = None
    for scale in (2, 3, 4):
        config = TrainConfig(
            output=str(args.output / f"edsr_{args.size}_x{scale}"),
            div2k=args.div2k,
            scale=scale,
            init_from=x2 and str(x2),
            precision=args.precision,
            loss_spike_factor=3.0,
            **SIZES[args.size],
        )
        best = train(config)
        x2 = x2 or best
        print(f"x{scale}: {best}")


if __name__ == "__main__":
    main()
