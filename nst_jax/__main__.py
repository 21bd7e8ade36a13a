"""`python -m nst_jax` is `nst-jax`."""

from nst_jax.cli.main import run

run()
