"""How the networks that draw in one pass are trained."""
