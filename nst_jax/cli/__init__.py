"""The command line: `main`, and one module for each subcommand.

These modules import JAX only when a subcommand runs, so that help texts and errors about flags
appear at once.
"""
