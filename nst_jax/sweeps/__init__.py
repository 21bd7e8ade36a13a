"""Sweeps: many stylizations in one call. Each of them is a lane of the sweep.

`axes` finds the values of each lane, `batches` runs the lanes, `folder` stores the results.
"""
