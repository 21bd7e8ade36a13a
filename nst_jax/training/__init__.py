"""Train the networks that draw in one pass."""
