import math

import hypothesis
import pytest
from hypothesis import strategies as st

from keras_edsr.inference.sizes import check_scale, check_size, plan_size

SIZE = (60, 80)  # height, width


@pytest.mark.parametrize(
    ("scales", "scale", "passes", "size"),
    [
        ((2,), None, (2,), (120, 160)),
        ((2,), 2, (2,), (120, 160)),
        ((2,), 2.0, (2,), (120, 160)),
        ((2,), 1.5, (2,), (90, 120)),
        ((2,), 3, (2, 2), (180, 240)),
        ((2,), 4, (2, 2), (240, 320)),
        ((2,), 8, (2, 2, 2), (480, 640)),
        ((2, 3, 4), 2.5, (3,), (150, 200)),
        ((2, 3, 4), 4, (4,), (240, 320)),
        ((2, 3, 4), 5, (2, 3), (300, 400)),  # 6, not 8, and the smaller first
        ((2, 3, 4), 7, (2, 4), (420, 560)),
        ((2, 3, 4), 64, (4, 4, 4), (3840, 5120)),
        ((2, 8), 3, (8,), (180, 240)),  # the next scale it has, rather than x2 twice
        ((2, 3, 4), 1.01, (2,), (61, 81)),
    ],
)
def test_the_next_scale_or_chain_is_taken(scales, scale, passes, size):
    plan = plan_size(scales, SIZE, scale)
    assert (plan.passes, (plan.height, plan.width)) == (passes, size)


@pytest.mark.parametrize(
    ("request_", "size", "passes"),
    [
        ({"width": 160}, (120, 160), (2,)),
        ({"height": 90}, (90, 120), (2,)),
        ({"width": 100}, (75, 100), (2,)),
        ({"width": 200, "height": 61}, (61, 200), (3,)),  # the shape changes as asked
        ({"width": 80}, (60, 80), ()),
        ({"width": 40}, (30, 40), ()),
        ({"fit": (3840, 2160)}, (2160, 2880), (3, 3, 4)),
        ({"fit": (160, 1000)}, (120, 160), (2,)),
        ({"fit": (1, 1)}, (1, 1), ()),
    ],
)
def test_a_size_in_pixels_is_met(request_, size, passes):
    plan = plan_size((2, 3, 4), SIZE, **request_)
    assert (plan.height, plan.width) == size
    assert plan.passes == passes
    assert plan.leads_beyond(*SIZE) == (size != tuple(math.prod(passes) * side for side in SIZE))


sides = st.integers(1, 3000)


@hypothesis.settings(max_examples=300, derandomize=True)
@hypothesis.given(
    size=st.tuples(sides, sides),
    scales=st.sets(st.sampled_from([2, 3, 4, 8]), min_size=1).map(tuple),
    scale=st.floats(1.001, 8),
)
def test_the_network_reaches_the_size_and_no_further_than_needed(size, scales, scale):
    plan = plan_size(scales, size, scale)
    factor = math.prod(plan.passes)
    for side, target in zip(size, (plan.height, plan.width), strict=True):
        assert abs(target - side * scale) <= 0.5
        assert target <= side * factor
    assert not plan.passes or math.prod(plan.passes[:-1]) < scale


@hypothesis.settings(max_examples=300, derandomize=True)
@hypothesis.given(size=st.tuples(sides, sides), fit=st.tuples(sides, sides))
def test_what_fits_touches_a_side_and_keeps_its_shape(size, fit):
    try:
        plan = plan_size((2, 3, 4), size, fit=fit)
    except ValueError as error:
        assert "3 passes" in str(error)  # noqa: PT017
        return
    assert plan.width <= fit[0]
    assert plan.height <= fit[1]
    assert plan.width == fit[0] or plan.height == fit[1]
    scale = min(fit[0] / size[1], fit[1] / size[0])
    assert abs(plan.height - size[0] * scale) <= max(0.5, 1 - size[0] * scale) + 1e-6
    assert abs(plan.width - size[1] * scale) <= max(0.5, 1 - size[1] * scale) + 1e-6


def test_work_is_counted_over_all_passes():
    assert plan_size((2, 3), SIZE, 2).pixels(*SIZE) == 4800
    assert plan_size((2, 3), SIZE, 6).pixels(*SIZE) == 4800 * (1 + 4)
    assert plan_size((2,), SIZE, 8).pixels(*SIZE) == 4800 * (1 + 4 + 16)
    assert plan_size((2,), SIZE, width=80).pixels(*SIZE) == 0


def test_the_way_is_told():
    assert plan_size((2,), SIZE, 3).describe(*SIZE) == "80x60, by the network x2 x2 320x240, by imresize 240x180"
    assert plan_size((2,), SIZE, width=40).describe(*SIZE) == "80x60, by imresize 40x30"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"`scale` must be one of the model's scales, \(2, 3\). Received: scale=None"),
        ({"scale": 1}, "`scale` must be a number above 1"),
        ({"scale": "2"}, "`scale` must be a number above 1"),
        (
            {"scale": 2, "width": 9},
            "Pass `scale`, or `width` and `height`, or `fit`. Received: scale and width, height",
        ),
        ({"fit": (9, 9), "height": 9}, "Received: width, height and fit"),
        ({"width": 0}, "`width` must be a positive integer. Received: width=0"),
        ({"height": 2.5}, "`height` must be a positive integer"),
        ({"width": True}, "`width` must be a positive integer"),
        ({"fit": 100}, r"`fit` must be \(width, height\)"),
        ({"fit": "99"}, r"`fit` must be \(width, height\)"),
        ({"fit": (100, -1)}, r"`fit\[1\]` must be a positive integer"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        check_size((2, 3), **arguments)


def test_more_than_three_passes_are_refused():
    with pytest.raises(ValueError, match=r"reaches 8 times the size in 3 passes. Received: 8.1 times"):
        plan_size((2,), SIZE, 8.1)


@pytest.mark.parametrize("scale", [5, 2.0, "2", True, None])
def test_a_scale_of_the_model_is_asked_for(scale):
    with pytest.raises(ValueError, match=r"`scale` must be one of the model's scales, \(2, 3\)"):
        check_scale(scale, (2, 3))
    assert check_scale(None, (2,)) == check_scale(2, (2, 3)) == 2
