"""Motion between pictures: optical flow, warping, where a flow can be trusted, and cuts.

A flow from picture `a` to picture `b` is a float32 array (h, w, 2). The pixel in column x and row y
of `a` is found in `b` at column x + flow[y, x, 0] and row y + flow[y, x, 1]: pixels to the right,
then pixels down. So `warp(b, flow)` looks like `a`. NaN means that the motion is not known.
"""
