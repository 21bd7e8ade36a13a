"""Train a model for any style (kind `predicted`) on one GPU, which makes the crops too.

    python scripts/training/train_any_style.py PHOTOGRAPHS PAINTINGS OUT --seconds 330

`nst-jax train --kind predicted` trains the same model, at the speed at which the processors cut
crops. Here all pictures lie in the GPU's memory, and each program does many steps. `--seconds` is
how long all of it may take, compilation included; the learning rate falls over the last third. What
was learned is in OUT every minute. A run that was cut short goes on from its checkpoint when the
command is given again.

Each style is a crop of a painting, a mosaic that the script draws, or a photograph, at a random
scale, often with other colours, sometimes beside another one.
"""

import argparse
import dataclasses
import fnmatch
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pictures"))
from mosaics import mosaic

from nst_jax.files import savepoint
from nst_jax.models import modelfile
from nst_jax.networks.base import Options
from nst_jax.networks.load import load_network
from nst_jax.pictures import reading
from nst_jax.pictures.sources import SUFFIXES
from nst_jax.training import loop, predicting
from nst_jax.training.recipe import Recipe

RECIPE: dict[str, Any] = {
    "kind": "predicted",
    "variant": "medium",
    "blocks": 8,
    "network": "vgg19",
    "crop": 224,
    "batch": 16,
    "optimizer": "muon",
    "learning_rate": 4e-3,
    "precision": "bfloat16",
    "licence": "CC-BY-4.0",  # that of VGG19 and of vgg19-lite, which it learned from
}
CANVAS = 480  # pixels; larger pictures are reduced to it
CHUNK = 25  # steps of one program
WARM = 200  # steps in which the learning rate rises
MOSAICS = 4  # their number among the styles
ENLARGED = 0.6  # least side of a content crop in its picture, of the side that it gets
SMALLEST = 0.35  # least side of a style crop in its picture, of the picture's short side
DRAWN = 0.5  # share of paintings and mosaics among the styles; the others are photographs
SAME = 0.03  # share of pairs whose style is the content itself
BESIDE = 0.15  # share of styles that are two side by side


class Pictures(NamedTuple):
    """Pictures in the device's memory: the photographs first, then those that only give styles.

    Attributes:
        canvases: uint8, (n, CANVAS, CANVAS, 3); each picture's edge is repeated to fill its own.
        sizes: height and width of each, (n, 2).
    """

    canvases: Any
    sizes: Any


def files(place: Path, left_out: list[str]) -> list[Path]:
    """The pictures of a folder, except those whose names match a pattern."""
    return [
        path
        for path in sorted(place.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not any(fnmatch.fnmatch(path.name, pattern) for pattern in left_out)
    ]


def load(sources: list[Any]) -> Pictures:
    """Read pictures into the device's memory."""

    def one(source: Any) -> tuple[np.ndarray, tuple[int, int]]:
        rgb = reading.read(source).rgb
        if max(rgb.shape) > CANVAS:
            rgb = reading.read(source, size=CANVAS).rgb
        height, width, _ = rgb.shape
        rims = ((0, CANVAS - height), (0, CANVAS - width), (0, 0))
        return np.pad(np.rint(rgb * 255).astype(np.uint8), rims, mode="edge"), (height, width)

    with ThreadPoolExecutor() as pool:
        canvases, sizes = zip(*pool.map(one, sources), strict=True)
    return Pictures(jnp.asarray(np.stack(canvases)), jnp.asarray(np.array(sizes, np.float32)))


def crop(key: Any, pictures: Pictures, index: Any, side: int, least: Any) -> Any:
    """A square crop of a picture, (side, side, 3), at a random place and scale.

    Its side in the picture is log-uniform, from `least` pixels to the whole short side.
    """
    one, two = jax.random.split(key)
    size = pictures.sizes[index]
    short = size.min()
    part = jnp.exp(jax.random.uniform(one, minval=jnp.log(least), maxval=jnp.log(short)))
    corner = jax.random.uniform(two, (2,)) * (size - part)
    return jax.image.scale_and_translate(
        pictures.canvases[index].astype(jnp.float32) / 255,
        (side, side, 3),
        (0, 1),
        jnp.full(2, side / part),
        -corner * side / part,
        "linear",
        precision=jax.lax.Precision.DEFAULT,
    )


# Of YIQ, whose last two channels turn with the hue.
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def recolored(key: Any, image: Any, amount: float) -> Any:
    """Another hue, saturation, contrast and brightness; `amount` is the chance of another hue."""
    keys = jax.random.split(key, 7)
    angle = jnp.where(
        jax.random.bernoulli(keys[0], amount), jax.random.uniform(keys[1], maxval=2 * jnp.pi), 0
    )
    saturation = jnp.exp(0.4 * jax.random.normal(keys[2]) * (angle != 0))
    saturation *= ~jax.random.bernoulli(keys[3], 0.06)
    c, s = jnp.cos(angle) * saturation, jnp.sin(angle) * saturation
    turn = (
        jnp.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]).at[1:, 1:].set(jnp.array([[c, -s], [s, c]]))
    )
    image = image @ jnp.asarray(np.linalg.inv(YIQ) @ jnp.eye(3) @ turn @ YIQ).T
    mean, wide = image.mean(), 0.1 + 0.2 * amount
    image = mean + (image - mean) * jnp.exp(wide * jax.random.normal(keys[4]))
    image = image + 0.3 * wide * jax.random.normal(keys[5])
    return jnp.clip(jnp.where(jax.random.bernoulli(keys[6], 0.1 * amount), 1 - image, image), 0, 1)


def content_of(key: Any, pictures: Pictures, photographs: int, side: int) -> Any:
    """A crop of one of the photographs, enlarged a little at most, perhaps mirrored."""
    one, two, three, four = jax.random.split(key, 4)
    index = jax.random.randint(one, (), 0, photographs)
    found = crop(
        two, pictures, index, side, jnp.minimum(ENLARGED * side, pictures.sizes[index].min())
    )
    found = jnp.where(jax.random.bernoulli(three), found[:, ::-1], found)
    return recolored(four, found, 0.05)


def style_of(key: Any, pictures: Pictures, photographs: int, side: int) -> Any:
    """A crop of any picture, perhaps mirrored or lying on its side, in other colours."""
    one, two, three, four, five, six = jax.random.split(key, 6)
    index = jax.random.randint(one, (), 0, photographs)
    other = jax.random.randint(two, (), photographs, len(pictures.sizes))
    index = jnp.where(jax.random.bernoulli(three, DRAWN), other, index)
    found = crop(four, pictures, index, side, SMALLEST * pictures.sizes[index].min())
    mirrored, turned = jax.random.bernoulli(five, jnp.array([0.5, 0.25]))
    found = jnp.where(mirrored, found[:, ::-1], found)
    found = jnp.where(turned, found.swapaxes(0, 1), found)
    return recolored(six, found, 0.5)


def styles_of(key: Any, pictures: Pictures, photographs: int, side: int, count: int) -> Any:
    """Style crops, (count, side, side, 3); some are one style beside another."""
    one, two, three = jax.random.split(key, 3)
    keys = jax.random.split(one, count)
    found = jax.vmap(lambda k: style_of(k, pictures, photographs, side))(keys)
    end = side * jax.random.uniform(two, (count, 1, 1, 1), minval=0.2, maxval=0.8)
    other = jnp.arange(side)[None, None, :, None] > end
    other &= jax.random.bernoulli(three, BESIDE, (count, 1, 1, 1))
    return jnp.where(other, jnp.roll(found, 1, 0), found)


def batch_of(key: Any, pictures: Pictures, photographs: int, recipe: Recipe) -> Any:
    """Content crops and style crops of a step."""
    one, two, three = jax.random.split(key, 3)
    keys = jax.random.split(one, recipe.batch)
    contents = jax.vmap(lambda k: content_of(k, pictures, photographs, recipe.crop))(keys)
    styles = styles_of(two, pictures, photographs, recipe.crop, recipe.batch)
    same = jax.random.bernoulli(three, SAME, (recipe.batch, 1, 1, 1))
    return contents, jnp.where(same, contents, styles)


def rate_at(recipe: Recipe, step: int, done: float) -> float:
    """The learning rate after so many steps, and this share of the time."""
    return (recipe.learning_rate or 0) * min(1, (step + 1) / WARM, max(0.0, 1 - done) * 3)


def main() -> None:
    """Train, and write what was learned every minute."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("paintings", type=Path)
    parser.add_argument("folder", type=Path, metavar="OUT")
    parser.add_argument("--seconds", type=float, default=330.0)
    parser.add_argument("--checkpoint", type=Path, help="where to go on from")
    parser.add_argument("--init", type=Path, help="a model whose parameters to begin with")
    parser.add_argument("--leave-out", default="", help="name patterns of pictures, with commas")
    parser.add_argument("--chunk", type=int, default=CHUNK, help="steps of one program")
    for name in ("crop", "batch", "blocks"):
        parser.add_argument(f"--{name}", type=int, default=RECIPE[name])
    for name in ("network", "precision"):
        parser.add_argument(f"--{name}", default=RECIPE[name])
    parser.add_argument("--learning-rate", type=float, default=RECIPE["learning_rate"])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    changed = {name: value for name, value in vars(options).items() if name in RECIPE}
    recipe = Recipe(**RECIPE | changed)

    def say(**values: Any) -> None:
        line = json.dumps({"seconds": round(time.monotonic() - began, 1)} | values)
        print(line, flush=True)
        with open(options.folder / "trace.jsonl", "a", encoding="utf-8") as file:
            file.write(line + "\n")

    left_out = [pattern for pattern in options.leave_out.split(",") if pattern]
    contents, paintings = (files(p, left_out) for p in (options.photographs, options.paintings))
    mosaics = [mosaic(480, 384, seed) for seed in range(6, 6 + MOSAICS)]
    pictures, photographs = load([*contents, *paintings, *mosaics]), len(contents)
    how = Options(precision=recipe.precision)
    layers = (*(recipe.content_layers or {}), *(recipe.style_layers or {}))
    network = load_network(recipe.network, how, layers=layers, offline=True)
    encoder = load_network(predicting.ENCODER, how, layers=predicting.LAYERS, offline=True)
    predictor = predicting.predictor_for(recipe, encoder)
    say(device=str(jax.devices()[0]), photographs=photographs, pictures=len(pictures.sizes))

    fixed: dict[str, Any] = {"photographs": photographs, "side": recipe.crop, "count": recipe.batch}
    some = jax.jit(partial(styles_of, **fixed))
    task = predicting.predicted(
        recipe,
        predictor,
        network,
        encoder,
        lambda step, count: some(jax.random.key(step), pictures),
    )
    parameters = task.parameters
    if options.init:
        tensors = modelfile.load(options.init).tensors
        task = task._replace(parameters={k: jnp.asarray(tensors[k]) for k in parameters})
    state = loop.start(task, recipe.optimizer)
    asked = recipe.to_dict() | {"network": network.digest, "leave_out": options.leave_out}
    if options.checkpoint and options.checkpoint.exists():
        kept = savepoint.find(options.checkpoint, resume=True, what=loop.TRAINING)
        state = loop.load(kept or options.checkpoint, state, asked)
    say(parameters=sum(p.size for p in parameters.values()), step=int(state.step))

    @partial(jax.jit, donate_argnums=0)
    def advance(state, frozen, masks, pictures, rate):
        def one(state, _):
            key = jax.random.fold_in(jax.random.key(recipe.seed + 1), state.step)
            batch = batch_of(key, pictures, photographs, recipe)
            average = jnp.float32(recipe.average)
            return loop.advance(
                task.loss, recipe.optimizer, state, frozen, masks, batch, rate, average
            )

        state, terms = jax.lax.scan(one, state, None, options.chunk)
        return state, jax.tree.map(jnp.mean, terms)

    def write(state: Any) -> None:
        model = predicting.predicted_model(predictor, encoder, state.average)
        about = asked | {
            "styles": f"{len(pictures.sizes)} pictures",
            "pictures": photographs,
            "steps": int(state.step),
            "seconds": round(time.monotonic() - began),
        }
        model = dataclasses.replace(model, training=about)
        for half, name in ((True, "anystyle"), (False, "anystyle-float32")):
            path = options.folder / f"{name}.safetensors"
            modelfile.save(path, model, licence=recipe.licence, half=half)
        if options.checkpoint:
            loop.save(options.checkpoint, state, asked)

    recent: list[dict[str, Any]] = []
    saved = told = time.monotonic()
    step = int(state.step)
    while (done := (time.monotonic() - began) / options.seconds) < 1:
        rate = jnp.float32(rate_at(recipe, step, done))
        before = recent[-1] if recent else None
        state, terms = advance(state, task.frozen, task.masks, pictures, rate)
        recent, step = [*recent, terms], step + options.chunk
        jax.block_until_ready(before)  # one program runs while the next one waits
        now = time.monotonic()
        if now - told > 5:
            means = {k: float(np.mean([float(t[k]) for t in recent])) for k in terms}
            say(step=step, rate=float(rate), **{k: round(v, 4) for k, v in means.items() if v})
            recent, told = [], now
        if now - saved > 60:
            write(state)
            saved = time.monotonic()
    write(state)
    say(step=int(state.step), finished=True)


if __name__ == "__main__":
    main()
