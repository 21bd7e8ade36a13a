"""The kinds of trainings: each makes what is trained, its preview and its model file."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.models import modelfile, transfer, transformer
from nst_jax.models.anystyle import AnyStyle
from nst_jax.models.model import Model
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.predicted import Predicted
from nst_jax.models.transformer import Architecture
from nst_jax.networks.base import Network, require_layers, require_size
from nst_jax.options import weighted
from nst_jax.pictures import transparency
from nst_jax.pictures.sources import PictureSource
from nst_jax.programs import jit
from nst_jax.training import coherence, tasks
from nst_jax.training.crops import Crops
from nst_jax.training.predicting import predicted, predicted_model, predictor_for
from nst_jax.training.recipe import Recipe

SEEN = 3  # number of training pictures in a preview


class Made(NamedTuple):
    """A training that is ready to start.

    Attributes:
        names: names of the styles, or their number, which tell this training from others.
        task: what is trained.
        preview: draws a sheet of pictures from parameters and crops.
        model: makes the content of the model file from parameters.
    """

    names: list[str]
    task: tasks.Task
    preview: Callable[[Mapping[str, Any], Float[np.ndarray, "b h w 3"]], np.ndarray]
    model: Callable[[Mapping[str, Any]], ModelFile]


def named(styles: Any) -> dict[str, PictureSource]:
    """The styles by name; files give their names to theirs.

    Raises:
        InputError: two styles have one name.
    """
    if isinstance(styles, Mapping):
        return dict(styles)
    names = [
        Path(os.fsdecode(s)).stem if isinstance(s, str | os.PathLike) else f"style {n}"
        for n, s in enumerate(styles, 1)
    ]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"Two styles are called '{name}': give their files other names.")
    return dict(zip(names, styles, strict=True))


def of_styles(
    recipe: Recipe,
    network: Network,
    named: Mapping[str, PictureSource],
    base: str | os.PathLike | None,
) -> Made:
    """What a training of a transformer makes, for styles by name.

    Raises:
        InputError: there is no style, one cannot be used, or the base has one of that name.
    """
    if not named:
        raise InputError("There is no style picture: give at least one.")
    pictures = [transparency.read_style(s, size=recipe.style_size) for s in named.values()]
    wanted = weighted(recipe.style_layers or {})
    require_layers(network, wanted)
    for name, picture in zip(named, pictures, strict=True):
        require_size(network, picture.rgb, wanted, f"style picture '{name}'")
    trained, before = None, ()
    films = recipe.coherence_weight > 0
    architecture = Architecture(recipe.variant, len(named), blocks=recipe.blocks, carried=films)
    if base is not None:
        found = modelfile.load(base)
        old = modelfile.architecture_of(found, base)
        trained, before = found.tensors, found.styles
        twice = set(before) & set(named)
        if twice:
            raise InputError(f"The model {str(base)!r} has a style '{twice.pop()}' already.")
        if films:
            raise InputError(
                "A base keeps all but its new styles, so it cannot be trained for films: give init "
                "in place of base, or leave coherence_weight out."
            )
        architecture = dataclasses.replace(old, styles=old.styles + len(named))
    task = tasks.stylizers(recipe, architecture, network, pictures, trained)
    if films:
        task = coherence.films(recipe, task)
    names = (*before, *named)

    def preview(
        parameters: Mapping[str, Any], crops: Float[np.ndarray, "b h w 3"]
    ) -> Float[np.ndarray, "h2 w2 3"]:
        drawn = [crops]
        for i in range(len(before), len(names)):
            blend = jnp.zeros((len(crops), len(names))).at[:, i].set(1.0)
            drawn.append(np.asarray(_draw(architecture, parameters, crops, blend)))
        # Rows are pictures, columns styles.
        return np.concatenate(np.concatenate(drawn, axis=2), axis=0)

    def model(parameters: Mapping[str, Any]) -> ModelFile:
        return ModelFile(
            modelfile.TRANSFORMER,
            modelfile.plain(architecture),
            jax.device_get(dict(parameters)),
            names,
        )

    return Made(list(named), task, preview, model)


def predicting_styles(
    recipe: Recipe,
    network: Network,
    encoder: Network,
    styles: Any,
    base: str | os.PathLike | None,
) -> Made:
    """What a training of a network that predicts styles makes, for styles in folders.

    Raises:
        InputError: there is a base, or no style picture that can be used.
    """
    _require_no_base(base)
    pictures = Crops(styles, recipe.crop, recipe.seed + 1)
    predictor = predictor_for(recipe, encoder)
    task = predicted(recipe, predictor, network, encoder, pictures.batch)

    def model(parameters: Mapping[str, Any]) -> ModelFile:
        return predicted_model(predictor, encoder, parameters)

    def drawing(parameters: Mapping[str, Any]) -> Model:
        return Predicted(model(parameters), "preview", encoder)

    preview = partial(_any_sheet, drawing, pictures)
    return Made([f"{len(pictures.paths)} pictures"], task, preview, model)


def decoding(
    recipe: Recipe,
    network: Network,
    styles: Any,
    base: str | os.PathLike | None,
) -> Made:
    """What a training of AdaIN's or WCT's decoders makes, for styles in folders.

    Raises:
        InputError: there is a base, or no style picture that can be used.
    """
    _require_no_base(base)
    method: Any = recipe.kind
    levels = transfer.LEVELS[method]
    require_layers(network, levels)
    pictures = Crops(styles, recipe.crop, recipe.seed + 1)
    image = jnp.zeros((recipe.crop, recipe.crop, 3))
    found = jax.eval_shape(lambda x: network(x, levels), image)
    widths = {level: found[level].shape[-1] for level in levels}
    full = recipe.variant == "johnson"
    rows = tuple(transfer.decoder(level, width, full) for level, width in widths.items())
    task = tasks.decoders(recipe, method, rows, network, pictures.batch)

    def model(parameters: Mapping[str, Any]) -> ModelFile:
        architecture = {
            "method": method,
            "levels": widths,
            "full": full,
            "encoder": network.name,
            "encoder_digest": network.digest,
        }
        return ModelFile(modelfile.ANY_STYLE, architecture, jax.device_get(dict(parameters)))

    def drawing(parameters: Mapping[str, Any]) -> Model:
        return AnyStyle(model(parameters), "preview", network)

    preview = partial(_any_sheet, drawing, pictures)
    # There are too many style pictures to name: their number identifies the training.
    return Made([f"{len(pictures.paths)} pictures"], task, preview, model)


def _require_no_base(base: str | os.PathLike | None) -> None:
    if base is not None:
        raise InputError(
            "The base has styles, to which others are added, but a model for any style has none."
        )


def _any_sheet(
    drawing: Callable[[Mapping[str, Any]], Model],
    pictures: Crops,
    parameters: Mapping[str, Any],
    crops: Float[np.ndarray, "b h w 3"],
) -> Float[np.ndarray, "h2 w2 3"]:
    """Crops on the left, their drawings beside them, and above these the styles."""
    model = drawing(parameters)
    sheet = [np.concatenate([np.ones_like(crops[0]), *crops], axis=0)]
    for style in pictures.batch(0, SEEN):
        paint = model.painter(style, *crops.shape[1:3])
        sheet.append(np.concatenate([style, *paint(crops)], axis=0))
    return np.concatenate(sheet, axis=1)


_draw = jit(static=["architecture"])(transformer.transform)
