"""train(): make a model file from a folder of pictures and some styles. Side effects live here."""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from nst_jax import interrupt
from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.files import savepoint, weightfile
from nst_jax.files.atomic import check_place
from nst_jax.models import modelfile, transfer, transformer
from nst_jax.models.anystyle import AnyStyle
from nst_jax.models.model import Model
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.predicted import Predicted
from nst_jax.models.predictor import LAYERS
from nst_jax.models.transformer import Architecture
from nst_jax.networks.base import Network, Options, require_layers, require_size
from nst_jax.networks.load import load_network
from nst_jax.options import in_range, weighted
from nst_jax.pictures import transparency
from nst_jax.pictures.sources import PictureSource
from nst_jax.programs import jit
from nst_jax.stylizing.outputs import require_source
from nst_jax.training import coherence, loop, tasks
from nst_jax.training.crops import Crops
from nst_jax.training.predicting import ENCODER, predicted, predicted_model, predictor_for
from nst_jax.training.recipe import Recipe
from nst_jax.training.recording import Files, Recorder

_SEEN = 3  # number of training pictures in a preview


class _Made(NamedTuple):
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


def train_model(
    content: str | os.PathLike,
    styles: Mapping[str, PictureSource] | Sequence[PictureSource],
    output: str | os.PathLike,
    *,
    base: str | os.PathLike | None = None,
    init: str | os.PathLike | None = None,
    files: Files | None = None,
    offline: bool | None = None,
    progress: bool = True,
    devices: Sequence[Any] | None = None,
    **options: Any,
) -> Path:
    """Train a network that draws in one pass, and write it to a model file.

    Args:
        content: folder of training pictures.
        styles: a mapping from style name to picture, or a list of files, whose names become the
            styles' names. For predicted, adain and wct: files and folders of style pictures.
        output: the `.safetensors` file to write.
        base: a trained transformer to which the styles are added. Only the parameters of the new
            styles are trained.
        init: a trained model with the same layout and number of styles. Training starts from its
            parameters instead of random ones, and trains all of them.
        files: files to write during training.
        offline: True never downloads weights; None follows the environment (`NST_JAX_OFFLINE`).
        progress: show a bar.
        devices: the devices over which each batch is split; None takes all of this process.
        **options: the fields of `Recipe`.

    Returns:
        `output` as a path. After Ctrl-C the file holds the model as it was then.

    Raises:
        InputError: an argument cannot be used; the message says what to do.
    """
    files = files or Files()
    for name in ("checkpoint_every", "previews_every"):
        in_range(getattr(files, name), name, Integral, 1, 10**9)
    output = Path(output)
    if output.suffix != ".safetensors":
        raise InputError(f"Model files are .safetensors; {str(output)!r} is not.")
    if base is not None and init is not None:
        raise InputError("Give base or init, not both: with a base its parameters are begun with.")
    for place in (output, files.trace):
        if place is not None:
            check_place(place, overwrite=True)
    require_source(files.checkpoint, resume=files.resume)
    with savepoint.kept_alone(files.checkpoint, loop.TRAINING):
        kept = savepoint.find(files.checkpoint, resume=files.resume, what=loop.TRAINING)
        recipe = Recipe(**options)
        crops = Crops(content, recipe.crop, recipe.seed)
        network = load_network(
            recipe.network,
            Options(precision=recipe.precision),
            layers=(
                *(recipe.content_layers or {}),
                *(recipe.style_layers or {}),
                *transfer.LEVELS.get(recipe.kind, ()),
            ),
            offline=offline,
            progress=progress,
        )
        if recipe.kind == "transformer":
            made = _transformer(recipe, network, _named(styles), base)
        elif recipe.kind == "predicted":
            made = _predicted(recipe, network, styles, base, offline)
        else:
            made = _any_style(recipe, network, styles, base)
        task, begun = _begun(made.task, init, films=recipe.coherence_weight > 0)
        asked = recipe.to_dict() | {
            "network": network.digest,
            "styles": made.names,
            "pictures": len(crops.paths),
            "base": str(base and os.path.basename(base)),
            "init": begun,
        }
        state = loop.start(task, recipe.optimizer)
        if kept is not None:
            state = loop.load(kept, state, asked)
        seen = crops.batch(0, _SEEN)
        recorder = Recorder(files, lambda p: made.preview(p, seen), asked, int(state.step))
        bar = tqdm(
            total=recipe.steps,
            initial=int(state.step),
            disable=not progress,
            unit="step",
            desc="train",
        )

        def report(now: loop.Now) -> bool:
            recorder.report(now)
            bar.set_postfix(loss=f"{now.terms['total']:.4g}", refresh=False)
            bar.update()
            return pressed()

        with bar, interrupt.deferred() as pressed:
            devices = list(devices or jax.local_devices())
            state = loop.run(task, recipe, crops.stream, state, report, recorder.due, devices)
        recorder.keep(state)
        model = made.model(state.average)
        training = asked | {
            "version": __version__,
            "steps": int(state.step),
            "skipped": len(crops.skipped),
            "seconds": round(recorder.seconds),
            "loss": recorder.recent(),
        }
        model = dataclasses.replace(model, training=training)
        _save(output, model, recipe.licence)
        return output


def _save(output: Path, model: ModelFile, licence: str) -> None:
    """Write the model, in a temporary folder if it cannot be written to `output` any more.

    Raises:
        InputError: the model was written to a temporary folder, whose name the message has.
    """
    try:
        modelfile.save(output, model, licence=licence)
    except InputError as error:
        rescued = Path(tempfile.mkdtemp(prefix="nst_jax-")) / output.name
        modelfile.save(rescued, model, licence=licence)
        raise InputError(f"{error} The model is kept in {rescued}.") from error


def _begun(
    task: tasks.Task, init: str | os.PathLike | None, *, films: bool
) -> tuple[tasks.Task, str]:
    """The task with the parameters of `init`, if given, and the digest of `init` or "".

    A network for films may begin with one for pictures.
    """
    if init is None:
        return task, ""
    file = modelfile.load(init)
    tensors = file.tensors
    if films and file.kind == modelfile.TRANSFORMER:
        architecture = modelfile.architecture_of(file, init)
        if not architecture.carried:
            tensors = transformer.for_films(architecture, tensors)
    shapes = {name: value.shape for name, value in task.parameters.items()}
    if problems := weightfile.misfits(tensors, shapes):
        raise InputError(
            f"A training cannot begin with the model {str(init)!r}, which has another layout or "
            f"number of styles: {'; '.join(problems)}."
        )
    begun = {name: jnp.asarray(tensors[name]) for name in shapes}
    return task._replace(parameters=begun), file.digest


def _named(styles: Any) -> dict[str, PictureSource]:
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


def _transformer(
    recipe: Recipe,
    network: Network,
    named: Mapping[str, PictureSource],
    base: str | os.PathLike | None,
) -> _Made:
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

    return _Made(list(named), task, preview, model)


def _predicted(
    recipe: Recipe,
    network: Network,
    styles: Any,
    base: str | os.PathLike | None,
    offline: bool | None,
) -> _Made:
    _require_no_base(base)
    precision = Options(precision=recipe.precision)
    encoder = load_network(ENCODER, precision, layers=LAYERS, offline=offline)
    pictures = Crops(styles, recipe.crop, recipe.seed + 1)
    predictor = predictor_for(recipe, encoder)
    task = predicted(recipe, predictor, network, encoder, pictures.batch)

    def model(parameters: Mapping[str, Any]) -> ModelFile:
        return predicted_model(predictor, encoder, parameters)

    def drawing(parameters: Mapping[str, Any]) -> Model:
        return Predicted(model(parameters), "preview", encoder)

    preview = partial(_any_sheet, drawing, pictures)
    return _Made([f"{len(pictures.paths)} pictures"], task, preview, model)


def _any_style(
    recipe: Recipe,
    network: Network,
    styles: Any,
    base: str | os.PathLike | None,
) -> _Made:
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
    return _Made([f"{len(pictures.paths)} pictures"], task, preview, model)


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
    for style in pictures.batch(0, _SEEN):
        paint = model.painter(style, *crops.shape[1:3])
        sheet.append(np.concatenate([style, *paint(crops)], axis=0))
    return np.concatenate(sheet, axis=1)


_draw = jit(static=["architecture"])(transformer.transform)
