"""Images that look a little like photographs."""

import numpy as np
from scipy import ndimage


def photograph(height=96, width=120, channels=3, seed=0):
    """Smooth shapes with some fine texture."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.zoom(rng.uniform(20, 235, (7, 8, channels)), (height / 7, width / 8, 1), order=3)
    return np.clip(coarse + rng.normal(0, 6, coarse.shape), 0, 255).astype(np.uint8)
