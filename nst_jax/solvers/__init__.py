"""Solvers: minimise any function of an array on the device, with progress reports."""
