import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from keras_edsr.inference import tiling
from keras_edsr.inference.tiling import BUDGETS, fit_tiles, tiles, windows

law = hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
sides = st.integers(1, 40)
large_sides = st.integers(1, 8000)


def areas(height, width, core, halo):
    """Pixels of each tile's context."""
    contexts = [context for _, context in tiles(height, width, core, halo)]
    return [(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in contexts]


@law
@hypothesis.given(height=sides, width=sides, core=st.tuples(sides, sides), halo=st.integers(0, 50))
def test_cores_cover_every_pixel_once_within_their_contexts(height, width, core, halo):
    count = np.zeros((height, width), int)
    for inside, context in tiles(height, width, core, halo):
        count[inside] += 1
        for inner, outer, side, longest in zip(inside, context, (height, width), core, strict=True):
            assert 0 < inner.stop - inner.start <= longest
            assert outer.start == max(0, inner.start - halo)
            assert outer.stop == min(side, inner.stop + halo)
    assert (count == 1).all()


@law
@hypothesis.given(height=large_sides, width=large_sides, halo=st.sampled_from([20, 36, 68, 172]))
def test_a_tile_stays_within_the_memory(height, width, halo):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiling, "free_memory", lambda: 4e9)
        core = fit_tiles(height, width, halo, 5000)
    assert max(areas(height, width, core, halo)) * 5000 <= 4e9 / 4


@law
@hypothesis.given(height=large_sides, width=large_sides)
def test_tiles_have_a_handful_of_shapes(height, width):
    core = fit_tiles(height, width, 36, 20_000)
    contexts = [context for _, context in tiles(height, width, core, 36)]
    assert len({tuple(span.stop - span.start for span in context) for context in contexts}) <= 16


def test_a_small_image_is_one_tile():
    assert fit_tiles(300, 200, 36, 3000) == (300, 200)


def test_a_long_image_is_cut_across():
    assert fit_tiles(100, 20_000, 36, 3000)[0] == 100


def test_more_memory_is_taken_only_where_halos_would_waste_work(monkeypatch):
    monkeypatch.setattr(tiling, "free_memory", lambda: 1e12)
    for halo, budget in [(4, BUDGETS[0]), (100, BUDGETS[-1])]:
        largest = max(areas(4000, 6000, fit_tiles(4000, 6000, halo, 3000), halo)) * 3000
        assert budget / 2 < largest <= budget * 1.01


def test_without_memory_for_the_halo_tiles_are_twice_as_large_as_it(monkeypatch):
    monkeypatch.setattr(tiling, "free_memory", lambda: 0)
    assert fit_tiles(1000, 1000, 36, 3000) == (72, 72)


# === Windows of one size ===


@law
@hypothesis.given(height=sides, width=sides, window=st.tuples(sides, sides), halo=st.integers(0, 10))
def test_windows_lie_in_the_image_and_their_cores_cover_it_once(height, width, window, halo):
    for side, size in zip((height, width), window, strict=True):
        hypothesis.assume(side == size or side > size > 2 * halo)
    count = np.zeros((height, width), int)
    for inside, context in windows(height, width, window, halo):
        count[inside] += 1
        for inner, outer, side, size in zip(inside, context, (height, width), window, strict=True):
            assert outer.start >= 0
            assert outer.stop - outer.start == size
            assert outer.start <= max(0, inner.start - halo)
            assert outer.stop >= min(side, inner.stop + halo)
    assert (count == 1).all()


def test_there_are_no_more_windows_than_needed():
    # 100 = 60 + 2 * 20 within the halo of the first, one between, and the last
    assert len(list(windows(10, 100, (10, 40), 10))) == 4
    assert len(list(windows(10, 40, (10, 40), 10))) == 1


@pytest.mark.parametrize(
    ("size", "halo", "message"),
    [
        ((39, 60), 10, "images of 50x40 pixels and cannot take a smaller image. Received: 60x39."),
        ((40, 49), 10, "cannot take a smaller image. Received: 49x40."),
        ((41, 50), 20, "cannot take another size. Received: 50x41."),
    ],
)
def test_an_image_that_windows_cannot_cover_is_refused(size, halo, message):
    with pytest.raises(ValueError) as raised:
        list(windows(*size, (40, 50), halo))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
