"""Objectives as tests ask for them: layers and numbers in, terms, weights and targets out."""

import nst_jax as nst
from nst_jax.losses import registry
from nst_jax.losses.content import Content
from nst_jax.losses.smoothness import TotalVariation
from nst_jax.losses.style import Style

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def gatys(
    content_layers=("relu4_2",),
    style_layers=STYLE_LAYERS,
    normalization="gatys",
    statistic="gram",
    **options,
):
    terms = (
        Content(content_layers, normalization),
        Style(style_layers, registry.statistic(statistic), normalization),
        TotalVariation(normalization=normalization),
    )
    return nst.Objective(terms, **options)


def weigh(content=1.0, style=1e3, tv=0.0, blend=None):
    """Weights of the three terms, all layers alike."""
    return nst.Weights({"content": content, "style": style, "tv": tv}, {}, blend)


def aims(spec, network, content, style, guides=None, kept=None, directions=None):
    """Targets: of a content and a style picture, or of a style's statistics if that is a dict."""
    if not isinstance(style, dict):
        style = nst.style_targets(spec, network, style, directions=directions)
    terms = {"style": nst.StyleTarget(style, guides, directions)}
    if content is not None:
        terms["content"] = nst.content_targets(spec, network, content)
    return nst.Targets(terms, kept)
