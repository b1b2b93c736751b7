"""Whether photographs show the same: by what is in them, however they were named, encoded, resized, turned or cut.

Two measures: how whole images correlate when they are made 32x32, in the eight flips and quarter turns; and how many
details (SIFT's, Lowe, 2004) two images have in common in one arrangement, at any size and turn, mirrored or not.
"""

import numpy as np
from PIL import Image
from skimage.feature import SIFT

SIDE = 32
SAME = 0.9  # whole images: copies reach 0.92 and more, different photographs 0.83

LONGER_SIDE = 256
NEAR = 3  # pixels
COMMON = 10  # details: of different photographs 7 at most


# === Whole images ===


def fingerprint(image):
    """A Pillow image as 32x32 numbers of mean 0 and norm 1."""
    small = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), float)
    small -= small.mean()
    return small / max(np.linalg.norm(small), 1e-9)


def likeness(ones, others):
    """How alike images are by their fingerprints, `(n, 32, 32)` and `(m, 32, 32)`: `(n, m)`, at most 1."""
    others = np.reshape(others, (len(others), -1)).T
    turned = [_dihedral(np.asarray(ones), k).reshape(len(ones), -1) for k in range(8)]
    return np.max([each @ others for each in turned], 0)


def _dihedral(images, k):
    images = images[:, :: -1 if k & 2 else 1, :: -1 if k & 1 else 1]
    return images.swapaxes(1, 2) if k & 4 else images


# === Parts of images ===


def details(image, mirrored=False):
    """Where a Pillow image has details, as complex numbers, and how each looks, as a vector of norm 1."""
    factor = LONGER_SIDE / max(image.size)
    small = image.convert("L").resize([round(side * factor) for side in image.size], Image.Resampling.LANCZOS)
    sift = SIFT(upsampling=1)
    try:
        sift.detect_and_extract(np.asarray(small, float)[:, :: -1 if mirrored else 1] / 255)
    except RuntimeError:  # there are none
        return np.zeros(0, complex), np.zeros((0, 128))
    looks = np.sqrt(sift.descriptors / np.maximum(sift.descriptors.sum(1, keepdims=True), 1))
    return sift.keypoints @ (1j, 1), looks


def common_details(one, other):
    """How many details two images have in common, in one arrangement."""
    (places, looks), (others_places, others_looks) = one, other
    if min(len(places), len(others_places)) < COMMON:
        return 0
    distance = np.sqrt(np.maximum(2 - 2 * looks @ others_looks.T, 0))
    nearest = np.argsort(distance, 1)[:, :2]
    first, second = np.take_along_axis(distance, nearest, 1).T
    clear = first < 0.8 * second  # Lowe's test
    return _in_one_arrangement(places[clear], nearest[clear, 0], others_places)


def _in_one_arrangement(p, match, others_places):
    """The most matches that one shift, turn and enlargement explains, of those that two matches each suggest."""
    q = others_places[match]
    i, j = np.triu_indices(len(p), 1)
    apart = (abs(p[i] - p[j]) > 2 * NEAR) & (abs(q[i] - q[j]) > 2 * NEAR)
    i, j = i[apart], j[apart]
    few = np.linspace(0, max(len(i) - 1, 0), min(len(i), 1000)).astype(int)
    i, j = i[few], j[few]
    if len(i) == 0:
        return 0
    turn = (q[i] - q[j]) / (p[i] - p[j])
    explained = abs(turn[:, None] * (p - p[i][:, None]) + q[i][:, None] - q) < NEAR
    best = explained[np.argmax(explained.sum(1))]
    return len(np.unique(match[best]))  # several details that all match one are no sign
