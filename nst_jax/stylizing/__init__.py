"""Stylization by optimisation, from the settings and pictures to the result."""
