"""load(): read a model file and return a model that is ready to draw."""

import os
from dataclasses import replace

from nst_jax.errors import InputError
from nst_jax.files import weights
from nst_jax.models import modelfile
from nst_jax.models.anystyle import AnyStyle
from nst_jax.models.magenta import Magenta
from nst_jax.models.microast import MicroAST
from nst_jax.models.model import Model
from nst_jax.models.predicted import Predicted
from nst_jax.models.predictor import LAYERS
from nst_jax.models.stylizer import Stylizer
from nst_jax.networks.load import load_network

# Models of the package that draw with the decoder of another, and by which method of `transfer`.
_SHARED = {"anystyle": ("adain", "whitened"), "swap": ("adain", "swap")}


def load(path: str | os.PathLike, *, offline: bool | None = None) -> Model:
    """Load a model that draws in one pass, by name or from a file.

        model = nst.load("styles.safetensors")
        model("photo.jpg", "night").save("out.png")

    Args:
        path: a file that `nst-jax train` or `nst-jax weights convert` wrote, or the name of a model
            in the package or in a folder of weights.
        offline: True never downloads the weights of the model's encoder; None follows the
            environment (`NST_JAX_OFFLINE`).

    Raises:
        InputError: there is no such file, or it is no model, damaged, or of another version or
            kind.
    """
    found = weights.find_model(path)
    shared = None if os.path.isfile(found) else _SHARED.get(os.fspath(path))
    file, name = modelfile.load(weights.find_model(shared[0]) if shared else found), found.name
    if shared:
        architecture = {**file.architecture, "method": shared[1]}
        file = replace(file, architecture=architecture, digest=f"{file.digest} {name}")
    if file.kind == modelfile.TRANSFORMER:
        return Stylizer(file, name)
    if file.kind == modelfile.MICROAST:
        return MicroAST(file, name)
    if file.kind == modelfile.MAGENTA:
        return Magenta(file, name)
    if file.kind == modelfile.PREDICTED:
        modelfile.predictor_of(file, name)
        encoder = load_network(file.architecture["encoder"], layers=LAYERS, offline=offline)
        return Predicted(file, name, encoder)
    if file.kind != modelfile.ANY_STYLE:
        raise InputError(f"The file {str(found)!r} holds a model of a kind not known: {file.kind}.")
    levels = list(modelfile.decoders_of(file, name))
    network = load_network(file.architecture["encoder"], layers=levels, offline=offline)
    return AnyStyle(file, name, network)
