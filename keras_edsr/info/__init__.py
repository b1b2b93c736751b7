"""Descriptions of presets and model files, without running the models.

`info.describe` imports TensorFlow; the list of presets does not.
"""
