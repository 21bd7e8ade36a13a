"""train(): make a model file from a folder of pictures and some styles. Side effects live here."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from tqdm.auto import tqdm

from nst_jax import interrupt
from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.files import savepoint, weightfile
from nst_jax.files.atomic import check_place
from nst_jax.models import modelfile, transfer, transformer
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.predictor import LAYERS
from nst_jax.networks.base import Options
from nst_jax.networks.load import load_network
from nst_jax.options import in_range
from nst_jax.pictures.sources import PictureSource
from nst_jax.stylizing.outputs import require_source
from nst_jax.training import kinds, loop, tasks
from nst_jax.training.crops import Crops
from nst_jax.training.predicting import ENCODER
from nst_jax.training.recipe import Recipe
from nst_jax.training.recording import Files, Recorder


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
            styles' names. For models for any style: files and folders of style pictures.
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
            made = kinds.of_styles(recipe, network, kinds.named(styles), base)
        elif recipe.kind == "predicted":
            how = Options(precision=recipe.precision)
            encoder = load_network(ENCODER, how, layers=LAYERS, offline=offline)
            made = kinds.predicting_styles(recipe, network, encoder, styles, base)
        else:
            made = kinds.decoding(recipe, network, styles, base)
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
        seen = crops.batch(0, kinds.SEEN)
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
