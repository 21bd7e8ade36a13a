"""Arguments of wrong types, without the type checks that the other tests run under."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np, tiny
import nst_jax as nst
from nst_jax.pictures import reading
from nst_jax.videos.passages import method_of

network, image = tiny.network(), np.zeros((32, 32, 3), np.float32)

def told(name, call):
    try:
        call()
    except nst.InputError as error:
        print(f"{name}: {error}")

told("batch", lambda: nst.features(network, image[None], ["relu1_1"]))
told("grey", lambda: nst.features(network, image[..., 0], ["relu1_1"]))
told("integers", lambda: nst.features(network, image.astype(np.uint8), ["relu1_1"]))
told("path", lambda: nst.features(network, "cat.jpg", ["relu1_1"]))
told("gram", lambda: nst.gram(image[None]))
told("warp", lambda: nst.warp(image, np.zeros((16, 32, 2), np.float32)))
told("reliability", lambda: nst.reliability(image, image))
told("method", lambda: nst.flow(image, image, "raft"))
told("flow", lambda: method_of("raft"))
told("None", lambda: reading.read(None))
told("list", lambda: reading.read([image, image]))
told("object", lambda: reading.read(object()))
told("styles", lambda: nst.interpolate(image, "night.png"))
told("contents", lambda: nst.sweep([image, image], image))
told("in_flight", lambda: nst.sweep(image, image, in_flight=[1, 2]))
told("keep", lambda: nst.sweep(image, image, keep=[image, image]))
told("callback", lambda: nst.stylize(image, image, callback=3))
"""
EXPECTED = {
    "batch": "The picture has the shape (1, 32, 32, 3); expected (height, width, 3)",
    "grey": "The picture has the shape (32, 32); expected (height, width, 3)",
    "integers": "The picture has values of type uint8; expected floats in [0, 1]",
    "path": "The picture is a str; expected an array",
    "gram": "The features have the shape (1, 32, 32, 3); expected (height, width, channels)",
    "warp": "The flow has the shape (16, 32, 2), and what is used with it the shape (32, 32, 3)",
    "reliability": "The flow has the shape (32, 32, 3)",
    "method": 'The flow\'s method is "variational" or "dis"; got \'raft\'',
    "flow": "There is no method of flow 'raft'",
    "None": "The picture (given as NoneType) is missing",
    "list": "is a list of 2; expected a single picture",
    "object": "has the shape (); expected (height, width)",
    "styles": "To interpolate, give a list of two style pictures or more",
    "contents": "content is one picture: give several as contents=",
    "in_flight": "in_flight is [1, 2], but must be",
    "keep": "keep is one mask for all lanes, and cannot be an axis",
    "callback": "callback is 3, but must be a function, or None",
}


def test_each_gets_a_sentence():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert said.keys() == EXPECTED.keys()
    for name, text in EXPECTED.items():
        assert text in said[name]
