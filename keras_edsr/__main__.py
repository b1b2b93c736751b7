"""`python -m keras_edsr`."""

from .cli import main

main()
