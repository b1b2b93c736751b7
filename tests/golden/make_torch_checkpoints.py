"""Makes torch_checkpoints/: small seeded networks as PyTorch saved them, and what PyTorch makes of a picture with them.

    python tests/golden/make_torch_checkpoints.py PICTURE        # torch 2.13.0 and safetensors 0.8.0

PICTURE was Set5's butterfly.png; 12 by 16 pixels of it are kept. All outputs are float32 (H, W, 3) for 0..255.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "helpers"))
import torch_reference as reference

FOLDER = Path(__file__).resolve().parent / "torch_checkpoints"
FILTERS = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    picture = np.array(Image.open(parser.parse_args().picture).convert("RGB"))[24:36, 210:226]
    FOLDER.mkdir(exist_ok=True)
    Image.fromarray(picture).save(FOLDER / "picture.png")
    outputs = {}

    def edsr(scale, **options):
        return reference.seeded(lambda: reference.EDSR(scale, 2, FILTERS, **options), seed=scale)

    def save(name, content, *, legacy=False):
        torch.save(content, FOLDER / name, _use_new_zipfile_serialization=not legacy)

    for scale, name, legacy in ((2, "edsr_x2.pt", False), (3, "edsr_x3_legacy.pt", True)):
        module = edsr(scale)
        save(name, module.state_dict(), legacy=legacy)
        outputs[name] = reference.run(module, picture)

    module = edsr(2).bfloat16().float()
    save("edsr_x2_bfloat16.pt", module.bfloat16().state_dict())
    outputs["edsr_x2_bfloat16.pt"] = reference.run(module.float(), picture)

    module = edsr(3)
    save_file(module.state_dict(), FOLDER / "edsr_x3.safetensors")
    outputs["edsr_x3.safetensors"] = reference.run(module, picture)

    # As pytorch_model.tar of 2018 and files saved under DataParallel: without the mean, every name behind `module.`
    module = edsr(8)
    state = {f"module.{name}": value for name, value in module.state_dict().items() if "mean" not in name}
    save("edsr_x8_legacy_module.pt", state, legacy=True)
    outputs["edsr_x8_legacy_module.pt"] = reference.run(module, picture)

    module = reference.seeded(lambda: reference.BasicSREDSR(4, 2, FILTERS))
    other = reference.seeded(lambda: reference.BasicSREDSR(4, 2, FILTERS), seed=1)
    save("edsr_x4_basicsr.pth", {"params": other.state_dict(), "params_ema": module.state_dict()})
    outputs["edsr_x4_basicsr.pth"] = 255 * reference.run(module, picture / 255)

    module = reference.seeded(lambda: reference.SuperImageEDSR(2, 2, FILTERS))
    save("pytorch_model_2x.pt", module.state_dict())
    outputs["pytorch_model_2x.pt"] = 255 * reference.run(module, picture / 255)

    module = reference.seeded(lambda: reference.MDSR((2, 3, 4), 2, FILTERS))
    for name, legacy in (("mdsr.pt", False), ("mdsr_legacy.pt", True)):
        save(name, module.state_dict(), legacy=legacy)
        for scale in module.scales:
            outputs[f"{name}:x{scale}"] = reference.run(module, picture, scale=scale)

    np.savez_compressed(FOLDER / "outputs.npz", **outputs)


if __name__ == "__main__":
    main()
