import subprocess
import sys

import numpy as np
import pytest

from keras_edsr.data import ScaleBatchSampler
from keras_edsr.data.sampler import below, random_words

FIRST = [2, 4, 4, 3, 3, 3, 3, 3, 4, 4, 4, 2]


def test_the_scale_is_a_function_of_seed_and_step():
    forward = [ScaleBatchSampler(seed=0)(step) for step in range(50)]
    sampler = ScaleBatchSampler(seed=0)
    backward = [sampler(step) for step in reversed(range(50))]
    assert forward == backward[::-1]


def test_scales_do_not_change_between_releases():
    sampler = ScaleBatchSampler((2, 3, 4), seed=0)
    assert [sampler(step) for step in range(12)] == FIRST


def test_another_process_draws_the_same_scales():
    code = (
        "from keras_edsr.data import ScaleBatchSampler as S; s = S((2, 3, 4), seed=7);"
        "print([s(k) for k in range(1000, 1020)])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    sampler = ScaleBatchSampler((2, 3, 4), seed=7)
    assert printed.strip() == str([sampler(step) for step in range(1000, 1020)])


def test_seeds_give_different_scales():
    draws = {tuple(ScaleBatchSampler(seed=seed)(k) for k in range(40)) for seed in range(20)}
    assert len(draws) == 20


def test_scales_are_drawn_in_equal_shares():
    sampler = ScaleBatchSampler((2, 3, 4))
    scales = [sampler(step) for step in range(3000)]
    # Three standard deviations of a share of 1/3 in 3,000 draws.
    assert all(abs(scales.count(scale) - 1000) < 78 for scale in (2, 3, 4))


def test_weights_are_shares():
    sampler = ScaleBatchSampler((2, 4), scale_weights=(3, 1))
    assert sampler.scale_weights == (0.75, 0.25)
    scales = [sampler(step) for step in range(3000)]
    assert abs(scales.count(2) - 2250) < 72


def test_the_old_name_of_the_weights_works_with_a_warning():
    with pytest.warns(DeprecationWarning, match="`weights` is deprecated; use `scale_weights`") as caught:
        sampler = ScaleBatchSampler((2, 4), weights=(3, 1))
    assert caught[0].filename == __file__
    assert sampler.scale_weights == (0.75, 0.25)
    with pytest.warns(DeprecationWarning, match="use `scale_weights`"):
        assert sampler.weights == (0.75, 0.25)
    with pytest.raises(TypeError, match="Give `scale_weights` alone"):
        ScaleBatchSampler((2, 4), weights=(3, 1), scale_weights=(1, 1))


def test_a_weight_of_zero_is_never_drawn():
    for weights in [(0, 1, 0), (0, 0, 1), (1, 0, 0)]:
        sampler = ScaleBatchSampler((2, 3, 4), weights)
        assert {sampler(step) for step in range(200)} == {(2, 3, 4)[weights.index(1)]}


def test_one_scale_is_always_drawn():
    assert {ScaleBatchSampler((3,))(step) for step in range(20)} == {3}


@pytest.mark.parametrize("scales", [(), (5,), (2, 2), ("2",), (2, 0)])
def test_bad_scales_are_refused(scales):
    with pytest.raises(ValueError, match="`scale"):
        ScaleBatchSampler(scales)


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, -1), (0, 0, 0), (1, 1, float("nan")), (1, 1, float("inf"))])
def test_bad_weights_are_refused(weights):
    with pytest.raises(ValueError, match="`scale_weights` must be"):
        ScaleBatchSampler((2, 3, 4), weights)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, None])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="`seed` must be"):
        ScaleBatchSampler(seed=seed)


def test_steps_and_streams_are_independent():
    words = [random_words(0, step, stream, 4) for step in range(50) for stream in range(2)]
    assert len(np.unique(words)) == 400


def test_below_is_uniform():
    counts = np.bincount(below(random_words(0, 0, 0, 6000), 6), minlength=6)
    assert counts.size == 6
    assert np.abs(counts - 1000).max() < 3 * 29


def test_below_takes_a_bound_for_each_word():
    bounds = np.array([1, 2, 3, 1000])
    assert (below(np.full(4, 2**64 - 1, np.uint64), bounds) == bounds - 1).all()
    assert (below(np.zeros(4, np.uint64), bounds) == 0).all()
