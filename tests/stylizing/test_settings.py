"""Settings: presets as their papers and peers have them, and every value checked."""

import dataclasses
import json
import math

import numpy as np
import pytest

from nst_jax import PRESETS, InputError, Settings
from nst_jax.stylizing.presets import resolve


def refusal(**options) -> str:
    with pytest.raises(InputError) as caught:
        resolve(**options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))
    return str(caught.value)


def test_presets_are_what_they_are_named_after():
    gatys = PRESETS["gatys"]
    layers = {f"relu{block}_1": 1.0 for block in range(1, 6)}
    # leongatys/PyTorchNeuralStyleTransfer: content 1, style 1e3/n^2, L-BFGS on 0..255, max pooling.
    assert (gatys.content_weight, gatys.style_weight, gatys.tv_weight) == (1, 1e3, 0)
    assert (gatys.normalization, gatys.pooling, gatys.init) == ("gatys", "max", "content")
    assert (gatys.optimizer, gatys.pairs, gatys.units) == ("lbfgs", 100, 255)
    assert (gatys.content_layers, gatys.style_layers) == ({"relu4_2": 1}, layers)
    # The paper: alpha/beta 1e-3, w_l = 1/5, average pooling, from white noise.
    paper = PRESETS["paper"]
    assert paper.content_weight / paper.style_weight == 1e-3
    assert (paper.normalization, paper.pooling, paper.init) == ("paper", "average", "noise")
    assert paper.style_layers == dict.fromkeys(layers, 0.2)
    # jcjohnson/neural-style: 5 : 100, tv 1e-3, 1000 iterations, randn * 0.001 in 0..255.
    johnson = PRESETS["neural-style"]
    assert (johnson.content_weight, johnson.style_weight, johnson.tv_weight) == (5, 100, 1e-3)
    assert (johnson.normalization, johnson.iterations, johnson.init) == (
        "neural-style",
        1000,
        "noise",
    )
    assert johnson.noise_scale * 255 == pytest.approx(1e-3)
    # crowsonkb/style-transfer-pytorch: 256:64:16:4:1, Adam 0.02 with clipping, from the content.
    crowson = PRESETS["wasserstein"]
    weights = list(crowson.style_layers.values())
    np.testing.assert_allclose(np.array(weights) / weights[-1], [256, 64, 16, 4, 1])
    assert sum(weights) * crowson.style_weight == pytest.approx(1)
    assert (crowson.statistic, crowson.padding, crowson.pooling) == (
        "wasserstein",
        "replicate",
        "max",
    )
    # His 2.0 of squares in [0, 1], summed over both directions; squares of features 57.6^2 smaller.
    assert crowson.tv_weight == pytest.approx(2.0 * 2 / 255**2 * (255 * 0.226) ** 2, rel=0.03)
    for name, preset in PRESETS.items():
        assert preset.preset == name


def test_default_is_another_way_to_gatys_objective_within_range():
    way = ("preset", "draft", "min_size", "coarse_iterations", "iterations", "precondition")
    way += ("range_weight",)
    gatys, default = PRESETS["gatys"], PRESETS["default"]
    plain = {name: getattr(gatys, name) for name in way}
    assert dataclasses.replace(default, **plain) == gatys
    assert all(getattr(default, name) != value for name, value in plain.items())


def test_explicit_options_override_the_preset():
    settings = resolve("neural-style", style_weight=7, init="content")
    assert (settings.style_weight, settings.init) == (7.0, "content")
    assert settings == dataclasses.replace(
        PRESETS["neural-style"], style_weight=7.0, init="content"
    )
    assert PRESETS["neural-style"].style_weight == 100


@pytest.mark.parametrize(
    "layers",
    [
        "relu1_1,relu2_1:0.5",
        " relu1_1 , relu2_1:0.5,",
        ["relu1_1", "relu2_1:0.5"],
        {"relu1_1": 1, "relu2_1": np.float32(0.5)},
    ],
)
def test_layers_may_be_written_in_several_ways(layers):
    settings = Settings(style_layers=layers)
    assert settings.style_layers == {"relu1_1": 1.0, "relu2_1": 0.5}
    assert {type(v) for v in settings.style_layers.values()} == {float}


def test_numpy_scalars_become_plain_values():
    settings = Settings(size=np.int64(64), style_weight=np.float32(3), iterations=np.uint8(5))
    assert json.loads(json.dumps(settings.to_dict()))["style_weight"] == 3.0
    assert (type(settings.size), type(settings.style_weight)) == (int, float)


def test_plain_values_make_the_same_settings_again():
    settings = resolve("paper", size=None, style_layers="relu1_1:2")
    assert Settings(**json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preset": "gatis"}, "no preset 'gatis'. Did you mean 'gatys'?"),
        ({"preset": None}, "no preset 'None'. There is default"),
        ({"sytle_weight": 3}, "no option 'sytle_weight'. Did you mean 'style_weight'?"),
        ({"optimizer": "lbgfs"}, "no optimizer 'lbgfs'. Did you mean 'lbfgs'?"),
        ({"pooling": None}, "no pooling 'None'. There is max, average"),
        ({"init": "niose"}, "no init 'niose'. Did you mean 'noise'?"),
        ({"init": None}, "init is None, but must be a text"),
        ({"network": None}, "network is None, but must be a text"),
        ({"remat": "yes"}, "remat is 'yes', but must be True or False"),
        ({"style_weight": -1}, "style_weight is -1, but must be a number from 0 to 1e+30."),
        ({"content_weight": math.nan}, "content_weight is nan, but must be a number from 0"),
        ({"tv_weight": math.inf}, "tv_weight is inf, but must be a number from 0"),
        ({"style_weight": 10**400}, "but must be a number from 0 to 1e+30"),
        ({"style_weight": "3"}, "style_weight is '3', but must be a number"),
        ({"style_weight": True}, "style_weight is True, but must be a number"),
        ({"style_weight": None}, "style_weight is None, but must be a number from 0 to 1e+30."),
        ({"learning_rate": 0}, "learning_rate is 0, but must be a number from 1e-30 to"),
        ({"size": 0}, "size is 0, but must be a whole number from 1 to 100000, or None."),
        ({"size": 512.0}, "size is 512.0, but must be a whole number"),
        ({"style_size": -3}, "style_size is -3, but must be a whole number"),
        ({"iterations": -1}, "iterations is -1, but must be a whole number from 0 to 10000000."),
        ({"iterations": None}, "iterations is None, but must be a whole number"),
        ({"history": 0}, "history is 0"),
        ({"momentum": 1.5}, "momentum is 1.5, but must be a number from 0 to 1."),
        ({"units": 0}, "units is 0"),
        ({"init_noise": -0.1}, "init_noise is -0.1"),
        ({"noise_scale": math.nan}, "noise_scale is nan"),
        ({"seed": -1}, "seed is -1, but must be a whole number from 0 to 4294967295."),
        ({"style_layers": "relu1_1:x"}, "style_layers: 'relu1_1:x' is not NAME or NAME:WEIGHT."),
        ({"style_layers": "relu1_1:-2"}, "style_layers: the weight of relu1_1 is -2.0"),
        ({"content_layers": {"relu1_1": math.nan}}, "the weight of relu1_1 is nan"),
        ({"content_layers": {"relu1_1": "3"}}, "the weight of relu1_1 is '3'"),
        ({"content_layers": None}, "content_layers is None, but must be names"),
        ({"content_weight": 0, "style_weight": 0}, "All weights are zero"),
        ({"content_layers": "", "style_layers": ""}, "All weights are zero"),
        ({"content_weight": 0, "style_layers": "relu1_1:0"}, "All weights are zero"),
        ({"precision": "bfloat16"}, "too coarse for L-BFGS's curvature pairs: use optimizer"),
        ({"optimizer": "lbfgs-zoom", "learning_rate": 0.5}, "leave out learning_rate and"),
        (
            {"optimizer": "lbfgs-zoom", "learning_rate_schedule": "cosine:1:0"},
            "leave out learning_rate and",
        ),
        ({"seconds": -1}, "seconds is -1, but must be a number from 0 to 1000000000, or None."),
        ({"tolerance": 2}, "tolerance is 2, but must be a number from 0 to 1."),
        ({"average": 1}, "average is 1, but must be a number from 0 to 0.999999."),
        ({"average": 0.9}, "average is of no use to optimizer 'lbfgs'"),
        ({"patience": 0}, "patience is 0, but must be a whole number from 1"),
        ({"style_weight_schedule": None}, "style_weight_schedule is None, but must be a text."),
        ({"style_weight_schedule": "linear"}, "but must be 'constant' or KIND:START:END[:PART]"),
        ({"style_weight_schedule": "lineal:0:1"}, "KIND is one of linear, cosine, exponential"),
        ({"tv_weight_schedule": "linear:a:1"}, "tv_weight_schedule is 'linear:a:1', but must be"),
        ({"style_weight_schedule": "linear:0:1:0.5:2"}, "is 'linear:0:1:0.5:2', but must be"),
        ({"style_weight_schedule": "linear:0:1:0"}, "PART above 0 and at most 1."),
        ({"style_weight_schedule": "linear:nan:1"}, "multiples from 0 to 1e6"),
        ({"learning_rate_schedule": "linear:1:-1"}, "multiples from 0 to 1e6"),
        ({"learning_rate_schedule": "exponential:1:0"}, "neither starts nor ends at zero"),
        ({"style_weight_schedule": "linear:1:0.1"}, "must end at 1: style_weight is the weight at"),
        (
            {"style_weight_schedule": "linear:0:1", "tolerance": 0.1},
            "leave out tolerance or the schedule",
        ),
    ],
    ids=str,
)
def test_bad_values_get_a_sentence(options, said):
    assert said in refusal(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"content_weight": 0},
        {"style_weight": 0},
        {"content_layers": ""},
        {"content_weight": 0, "style_weight": 0, "tv_weight": 1},
        {"size": None, "style_size": None},
        {"init": "picture.jpg"},
        {"init": "./noise"},
        {"precision": "bfloat16", "optimizer": "adam"},
        {"seed": 2**32 - 1},
        {"learning_rate_schedule": "linear:0:0.5:0.1", "seconds": 0, "tolerance": 0.01},
        {"style_weight_schedule": "exponential:1e-3:1"},
    ],
    ids=str,
)
def test_odd_but_sensible_values_are_taken(options):
    assert resolve(**options)
