"""Keras' own test of a layer: config, building, symbolic and real shapes, gradients, saving, mixed precision."""

import pytest

testing = pytest.importorskip("keras.src.testing")

from keras_edsr.layers import MeanShift, ScaledResBlock, SubpixelUpsample  # noqa: E402


class TestLayers(testing.TestCase):
    def test_mean_shift(self):
        self.run_layer_test(
            MeanShift,
            init_kwargs={"mean": (1.0, 2.0, 3.0), "sign": 1},
            input_shape=(2, 5, 4, 3),
            expected_output_shape=(2, 5, 4, 3),
            expected_num_trainable_weights=0,
            expected_num_non_trainable_weights=0,
            supports_masking=False,
            run_training_check=False,  # it has nothing to train
            run_mixed_precision_check=False,  # it is float32 whatever the policy
            assert_built_after_instantiation=False,
        )

    def test_scaled_res_block(self):
        self.run_layer_test(
            ScaledResBlock,
            init_kwargs={"filters": 4, "kernel_size": 3, "residual_scaling": 0.1},
            input_shape=(2, 5, 4, 4),
            expected_output_shape=(2, 5, 4, 4),
            expected_num_trainable_weights=4,
            expected_num_non_trainable_weights=0,
            supports_masking=False,
        )

    def test_subpixel_upsample(self):
        self.run_layer_test(
            SubpixelUpsample,
            init_kwargs={"scale": 4, "filters": 4},
            input_shape=(2, 5, 4, 4),
            expected_output_shape=(2, 20, 16, 4),
            expected_num_trainable_weights=4,
            expected_num_non_trainable_weights=0,
            supports_masking=False,
        )
