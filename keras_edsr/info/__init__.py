"""What presets and the files of models are, told without running them.

`info.describe` imports TensorFlow, the list of presets does not.
"""
