"""The demo for a host that runs a file and expects port 7860 of every address, such as a container or a Space."""

from keras_edsr.demo import list_choices, serve

serve(list_choices(), host="0.0.0.0")
