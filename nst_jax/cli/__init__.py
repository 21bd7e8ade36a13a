"""The command line: `main`, and one module for each subcommand.

None imports JAX before a handler runs, so that help and bad flags are answered at once.
"""
