"""The cells of docs/extending.md run and do what they say; what objects lack is told."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

import nst_jax as nst
from nst_jax.networks.base import require_network

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"
CELLS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
SMALL = {'"size": 256': '"size": 32, "progress": False', "size=256": "size=32, progress=False"}
CONTENT, STYLE = tiny.picture(24, 32), tiny.picture(32, 24, 2)
FAST = {"size": None, "iterations": 6, "progress": False, "preset": "gatys"} | tiny.SHALLOW


def stylize(**options):
    return nst.stylize(CONTENT, STYLE, **{"network": tiny.network(), **FAST, **options})


def refusal(**options) -> str:
    with pytest.raises(nst.InputError) as caught:
        stylize(**options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def ran():
    """What each cell left, after all of them in their order, on small pictures."""
    found, names = [], {}
    resolve = nst.PRESETS["default"]
    for cell in CELLS:
        for large, small in SMALL.items():
            cell = cell.replace(large, small)
        cell = cell.replace('"iterations": 200', '"iterations": 5')
        if "stylize" in cell and "iterations" not in cell:
            cell = cell.replace("size=32", "size=32, iterations=5, min_size=None")
            cell = cell.replace('"size": 32', '"size": 32, "iterations": 5, "min_size": None')
        exec(compile(cell, str(PAGE), "exec"), names)
        found.append(dict(names))
    assert resolve == nst.PRESETS["default"]
    return found


def test_cells_are_short():
    assert len(CELLS) == 6
    assert all(len([line for line in cell.splitlines() if line.strip()]) <= 15 for cell in CELLS)


def test_the_cells_do_what_they_say(ran):
    grey, shapes, energy, lion, edges, rosenbrock = ran
    result = grey["result"]
    assert result.losses["grey"][0] > 0
    assert result.settings.to_dict()["terms"] == {"grey": 0.1}
    assert shapes["result"].losses["relu3_1"].shape == shapes["result"].evaluations.shape
    assert energy["result"].record()["settings"]["statistic"] == "energy"
    assert lion["result"].losses["total"][-1] < lion["result"].losses["total"][0]
    assert edges["result"].network == "edges"
    assert edges["result"].losses["edges"][-1] < edges["result"].losses["edges"][0]
    np.testing.assert_allclose(rosenbrock["state"].best_x, 1, atol=1e-3)


class Grey(nst.Term):
    name = "grey"

    def loss(self, seen, target):
        return 255**2 * jnp.var(seen.picture, axis=-1).mean()


class Chaser(nst.Term):
    """Half of the squared distance to a target that is a part of the way to the picture."""

    name, renew_every, follows = "chaser", 3, ("content",)

    def target(self, scene):
        return jnp.zeros_like(scene.content)

    def renewed(self, scene, target, picture):
        return target + (picture - target) / 4

    def loss(self, seen, target):
        return jnp.square(seen.picture - target).sum() / 2


def test_a_term_enters_total_gradient_trace_and_table(tmp_path):
    result = stylize(terms={Grey(): 3.0}, trace=tmp_path / "t.jsonl")
    x = CONTENT / np.float32(255)
    expected = 3 * 255**2 * x.var(-1).mean()
    assert result.losses["grey"][0] == pytest.approx(expected, rel=1e-4)
    parts = sum(result.losses[name] for name in ("content", "style", "tv", "range", "grey"))
    np.testing.assert_allclose(result.losses["total"], parts, rtol=1e-5)
    assert '"grey": ' in (tmp_path / "t.jsonl").read_text().splitlines()[0]
    assert stylize(terms=Grey()).losses["grey"][0] == pytest.approx(expected / 3, rel=1e-4)
    sweep = nst.sweep(
        CONTENT, STYLE, network=tiny.network(), terms=[{Grey(): 1.0}, {Grey(): 2.0}], **FAST
    )
    one, other = sweep.table()
    assert other["grey_unweighted"] == pytest.approx(one["grey_unweighted"], rel=0.2)
    assert [row["terms"] for row in (one, other)] == ["grey", "grey:2"]


def test_names_in_terms_are_options():
    settings = nst.Settings(terms="range:2,tv")
    assert (settings.range_weight, settings.tv_weight, settings.terms) == (2.0, 1.0, {})
    assert nst.Settings(terms={"range": 3}).range_weight == 3


def test_targets_are_renewed_between_chunks():
    """Against the same steps by hand, in numpy."""
    rate, steps = 0.1, 10
    options = {"content_weight": 0.0, "style_weight": 0.0, "terms": Chaser(), "iterations": steps}
    result = stylize(optimizer=optax.sgd(rate), **options)
    x = CONTENT.astype(np.float64) / 255
    target, expected = np.zeros_like(x), []
    for n in range(steps):
        if n and n % 3 == 0:
            target += (x - target) / 4
        expected.append(np.square(x - target).sum() / 2)
        x = np.clip(x - rate * (x - target), 0, 1)
    np.testing.assert_allclose(result.losses["chaser"], expected, rtol=1e-4)
    assert result.restarts == 0
    assert result.evaluations[result.best] == steps  # the one after the last renewal


def test_a_run_with_renewed_targets_resumes_with_the_same_bits(tmp_path):
    options = {"terms": {Chaser(): 1e3}, "iterations": 11, "optimizer": "adam"}
    whole = stylize(**options)
    place = {"checkpoint": tmp_path / "run", "checkpoint_every": 4}
    stylize(**options, **place, callback=lambda now: now.evaluations > 5)
    resumed = stylize(**options, **place, resume=True)
    np.testing.assert_array_equal(resumed.image, whole.image)
    np.testing.assert_array_equal(resumed.losses["total"], whole.losses["total"])


def test_lanes_with_renewed_targets_are_what_they_would_be_alone():
    options = {**FAST, "terms": {Chaser(): 1e3}, "network": tiny.network()}
    sweep = nst.sweep(CONTENT, STYLE, style_weight=[1e2, 1e3], in_flight=2, **options)
    alone = nst.stylize(CONTENT, STYLE, style_weight=1e3, **options)
    np.testing.assert_array_equal(sweep.at(style_weight=1e3).image, alone.image)


def test_an_optimiser_of_ones_own_is_that_by_name():
    """Adam by name works in 0..255 at 255 times the rate, which is the same."""
    named = stylize(optimizer="adam", iterations=12)
    own = stylize(optimizer=optax.adam(0.02), iterations=12)
    np.testing.assert_allclose(own.image, named.image, atol=2e-4)
    assert own.settings.to_dict()["optimizer"].startswith("GradientTransformation")


def test_an_optimiser_that_searches_lines():
    result = stylize(optimizer=optax.lbfgs(memory_size=4), iterations=20)
    assert result.losses["total"].size < result.evaluations[-1] <= 60
    assert result.losses["total"][-1] < 0.5 * result.losses["total"][0]


def test_an_optimiser_starts_again_after_a_blow_up():
    """From its own first state, which counts steps: the third is none."""

    def update(updates, count, params=None):
        return jax.tree.map(lambda g: jnp.where(count == 2, jnp.nan, -1e-9 * g), updates), count + 1

    own = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)
    with pytest.warns(RuntimeWarning, match="restarted the optimiser"):
        result = stylize(optimizer=own, iterations=9)
    assert result.restarts == 2
    assert np.isfinite(result.image).all()


def test_minimize_takes_any_function_and_optimiser():
    def bowl(x, centre):
        return jnp.square(x - centre).sum()

    for optimizer in ("lbfgs", optax.adam(0.3), nst.Optimizer("sgd", momentum=0.5)):
        state, trace = nst.minimize(
            bowl,
            jnp.zeros(3),
            jnp.arange(3.0),
            optimizer=optimizer,
            learning_rate=0.1,
            evaluations=200,
        )
        np.testing.assert_allclose(state.best_x, np.arange(3.0), atol=1e-2)
        assert trace.terms.keys() == {"total"}


@jax.tree_util.register_static
class Pixels:
    """The smallest network, as the sentence about one that lacks something shows it."""

    name, digest = "pixels", ""
    widths, strides, margins = {"rgb": 3}, {"rgb": 1}, {"rgb": 0}

    def __call__(self, image, layers, tap=nst.keep):
        return {"rgb": tap("rgb", image)[1]}


def test_a_network_of_other_layers_brings_its_own():
    options = {k: v for k, v in FAST.items() if not k.endswith("_layers")}
    result = nst.stylize(CONTENT, STYLE, network=Pixels(), **options)
    assert result.settings.content_layers == result.settings.style_layers == {"rgb": 1.0}
    assert result.losses["rgb"][-1] < result.losses["rgb"][0]


class Nothing:
    pass


class Unhashable:
    name, layers, target, measure, loss = "u", (), 1, 1, 1
    __hash__ = None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"terms": Nothing()},
            "The term of type Nothing lacks name, layers, target, measure, loss",
        ),
        ({"terms": Nothing()}, "smallest one that works is: class Grey(nst.Term)"),
        ({"terms": Unhashable()}, "lacks __hash__"),
        ({"terms": Grey}, "The term Grey is a class: give an instance of it."),
        ({"terms": "rang"}, "no term 'rang'. Did you mean 'range'?"),
        ({"terms": {Grey(): -1}}, "the weight of grey is -1, but must be a number from 0"),
        ({"terms": "tv:x"}, "'tv:x' is not NAME or NAME:WEIGHT"),
        ({"terms": {Grey(): 1, Grey(layers=("relu1_1",)): 2}}, "Two terms are called 'grey'"),
        ({"statistic": Nothing()}, "The statistic of type Nothing lacks name, additive"),
        ({"statistic": "gran"}, "no statistic 'gran'. Did you mean 'gram'?"),
        ({"optimizer": Nothing()}, "lacks init, update; the smallest one that works is: optax."),
        ({"optimizer": optax.adam(0.1), "learning_rate": 0.1}, "leave out learning_rate"),
        ({"terms": {Chaser(): 1}, "tolerance": 0.1}, "when 'chaser' makes its target anew"),
        ({"terms": {Grey(layers=("relu1_1",)): 1}, "tile": 16}, "'grey' needs the whole picture"),
    ],
)
def test_objects_that_lack_something(options, said):
    assert said in refusal(**options)


def test_networks_that_lack_something():
    with pytest.raises(nst.InputError, match="lacks name, digest, widths, strides, margins, __c"):
        require_network(Nothing())
    with pytest.raises(nst.InputError, match=r"the smallest one that works is: @jax\.tree_util"):
        require_network(Nothing())
    unregistered = type("Pixels", (), dict(vars(Pixels)))()
    with pytest.raises(nst.InputError, match=r"is no pytree of arrays"):
        require_network(unregistered)


def test_a_result_with_an_object_is_repeated_with_the_object(tmp_path):
    for name, picture in (("c.png", CONTENT), ("s.png", STYLE)):
        from PIL import Image

        Image.fromarray(picture).save(tmp_path / name)
    options = {**FAST, "network": "vgg19-lite", "iterations": 3}
    made = nst.stylize(tmp_path / "c.png", tmp_path / "s.png", terms={Grey(): 2.0}, **options)
    made.save(tmp_path / "out.png")
    with pytest.raises(nst.InputError, match="'grey' was an object of which the file keeps the"):
        nst.repeat(tmp_path / "out.png", progress=False)
    again = nst.repeat(tmp_path / "out.png", terms={Grey(): 2.0}, progress=False)
    np.testing.assert_array_equal(again.image, made.image)
