"""Stylization by optimisation: from settings and pictures to the result."""
