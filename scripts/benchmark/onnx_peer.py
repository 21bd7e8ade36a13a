"""Run an ONNX file of Dumoulin et al.'s styles in onnxruntime; the benchmark's section `onnx` does.

    python onnx_peer.py FILE THREADS

For each line on stdin, the path of a picture (1, 3, h, w) as `.npy`, it prints the seconds and
writes the drawing in its place. Nothing here imports nst_jax, so that
this may run in an environment of its own.
"""

import sys
import time

import numpy as np

STYLE = 7  # of the 26


def main() -> None:
    """Answer until stdin ends."""
    import onnxruntime  # pyright: ignore[reportMissingImports]

    file, threads = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    _, weights = session.get_inputs()
    blend = np.eye(weights.shape[0], dtype=np.float32)[STYLE]
    for line in sys.stdin:
        path = line.strip()
        picture = np.load(path)
        began = time.perf_counter()
        (drawn,) = session.run(None, {"image": picture, "style_weights": blend})
        seconds = time.perf_counter() - began
        np.save(path, drawn)
        print(seconds, flush=True)


if __name__ == "__main__":
    main()
