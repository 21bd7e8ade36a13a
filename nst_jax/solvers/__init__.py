"""Solvers: minimise any function of an array, on the device, in a loop that can be watched."""
