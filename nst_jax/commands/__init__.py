"""The subcommands, one module each: `add` puts its flags into the parser and names its handler.

None imports JAX before a handler runs, so that help and bad flags are answered at once.
"""
