"""A narrow network, small pictures: what the tests of the user's side run on."""

import os

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.files.weightfile import ARCHITECTURES, CAFFE
from nst_jax.models import modelfile, stages
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.transformer import Architecture
from nst_jax.networks.base import Options, keep
from nst_jax.networks.vgg import VGG


def tensors(widths=(4, 4, 6, 6, 6), seed=0) -> dict[str, np.ndarray]:
    """Random weights of VGG19's topology at these widths."""
    rng, found, depth = np.random.default_rng(seed), {}, 3
    for b, (count, width) in enumerate(zip(ARCHITECTURES["vgg19"], widths, strict=True), 1):
        for i in range(1, count + 1):
            kernel = rng.normal(size=(3, 3, depth, width)) * np.sqrt(2 / (9 * depth))
            found[f"conv{b}_{i}.kernel"] = kernel.astype(np.float32)
            found[f"conv{b}_{i}.bias"] = rng.normal(size=width).astype(np.float32)
            depth = width
    return found


def network(options: Options | None = None, *, seed=0, kind=VGG, **widths) -> VGG:
    """VGG19's topology, narrow if nothing else is said."""
    weights = tensors(seed=seed, **widths)
    return kind("vgg19", weights, CAFFE, options, name="tiny", digest=f"sha256:{seed:064}")


def wide(options: Options | None = None) -> VGG:
    """As wide as VGG19 where it is shallow, so that `vgg19-lite` may draft for it."""
    return network(options, widths=(64, 128, 6, 6, 6))


def picture(height=32, width=40, seed=1) -> np.ndarray:
    """Smooth colours and some noise, uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width][..., None] / 8
    waves = np.sin(x * rng.uniform(0.5, 2, 3) + y * rng.uniform(0.5, 2, 3))
    return np.uint8(np.clip(127 + 90 * waves + rng.normal(0, 20, (height, width, 3)), 0, 255))


def with_devices(count: int) -> str:
    """XLA_FLAGS for a command with that many virtual devices."""
    return f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"


# Two shallow layers: enough wherever depth makes no difference, and compiled in a moment.
SHALLOW = {"content_layers": "relu2_1", "style_layers": "relu1_1,relu2_1"}


@jax.tree_util.register_static
class Pixels:
    """Features that are the picture itself."""

    name, digest = "pixels", "sha256:0"
    widths, strides, margins = {"relu1_1": 3}, {"relu1_1": 1}, {"relu1_1": 0}

    def __call__(self, image, layers, tap=keep):
        return {"relu1_1": tap("relu1_1", jnp.asarray(image))[1]}


# One object, for which programs are compiled once.
PIXELS = Pixels()


STYLES = ("night", "ink", "glass")


def stylizer(path, variant="small"):
    """A model of random parameters that tell styles apart."""
    rng = np.random.default_rng(5)
    architecture = Architecture(variant, len(STYLES), blocks=1)
    tensors = {
        k: np.asarray(v) + 0.3 * stages.is_conditional(k) * rng.normal(size=v.shape)
        for k, v in stages.initial(architecture.shapes, 2).items()
    }
    model = ModelFile(
        modelfile.TRANSFORMER,
        modelfile.plain(architecture),
        {k: np.float32(v) for k, v in tensors.items()},
        STYLES,
        {"steps": 3},
    )
    modelfile.save(path, model)
    return path
