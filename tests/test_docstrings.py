"""The examples after >>> in docstrings give the results that stand there."""

import doctest
import importlib
import sys

import pytest


@pytest.mark.parametrize("name", ["_imresize", "image_ops", "layers", "metrics", "scores.measures"])
def test_the_examples_give_what_they_show(name):
    importlib.import_module(f"keras_edsr.{name}")  # whose attribute may be a function of that name
    result = doctest.testmod(sys.modules[f"keras_edsr.{name}"])
    assert result.attempted > 2
    assert result.failed == 0
