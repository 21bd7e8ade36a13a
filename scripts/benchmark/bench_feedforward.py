"""The section `feedforward` of the benchmark: the transformers for CPUs beside the same ones in
PyTorch, and AdaIN with the embedded encoder. The transformers' weights are random: seconds do not
depend on them.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from bench_sides import pictures
from bench_tools import Row, in_turn, median_row

_ANY_STYLE = "the style of any picture"
_REPEATS = 3
SMALL_LIMIT, ANY_LIMIT = 0.25, 0.5  # seconds at 512x512, on two CPU cores


def architectures() -> dict[str, Any]:
    """The transformers for CPUs, and the one that is in the package, of two styles each."""
    import nst_jax as nst
    from nst_jax.models.transformer import Architecture

    shipped: Any = nst.load("styles")
    found = {name: Architecture(name, styles=2) for name in ("small", "medium")}
    return found | {"styles": replace(shipped.architecture, styles=2)}


def feedforward_section(
    args: argparse.Namespace, on_cpu: Callable[[float | None], float | None]
) -> list[Row]:
    """Seconds for a picture, each side in turn; equal pictures first."""
    import jax

    from nst_jax.models import stages, transformer

    size = args.feedforward_size
    content, style = pictures(args, size)
    draw = jax.jit(transformer.transform, static_argnums=0)
    blend, batch = np.array([[0, 1]], np.float32), np.asarray(content)[None]
    runs: dict[str, Callable[[], Any]] = {}
    limits = {_ANY_STYLE: ANY_LIMIT}
    rows = []
    if not find_spec("torch"):
        rows.append(Row("feedforward", "PyTorch", note="PyTorch is not installed"))
    networks = architectures()
    for name, architecture in networks.items():
        parameters = stages.initial(architecture.shapes)

        def ours(architecture: Any = architecture, parameters: Any = parameters) -> Any:
            return jax.block_until_ready(draw(architecture, parameters, batch, blend))

        runs[name] = ours
        limits[name] = SMALL_LIMIT
        if find_spec("torch"):
            theirs = partial(_torch_transform, _torch_of(parameters), _nchw(batch))
            apart = float(np.abs(np.moveaxis(theirs().numpy(), 1, -1) - ours()).max())
            what = f"{size} px: {name}, largest difference to PyTorch's picture"
            rows.append(Row("feedforward", what, apart, limit=1e-4))
            runs[f"{name} in PyTorch"] = theirs
    runs[_ANY_STYLE] = _any_style(np.asarray(content), np.asarray(style))
    for run in runs.values():
        run()
    seconds = in_turn({name: partial(_many, run) for name, run in runs.items()}, args.rounds)
    for name, values in seconds.items():
        what = f"{size} px: {name}, one picture"
        limit = on_cpu(limits.get(name)) if size == 512 else None
        each = [value / _REPEATS for value in values]
        rows.append(median_row("feedforward", what, each, "s", limit=limit))
    for name in networks if find_spec("torch") else ():
        pairs = zip(seconds[name], seconds[f"{name} in PyTorch"], strict=True)
        what = f"{size} px: {name}, nst_jax / PyTorch"
        ratios = [a / b for a, b in pairs]
        rows.append(median_row("feedforward", what, ratios, "", limit=on_cpu(1.0)))
    return rows


def _many(run: Callable[[], Any]) -> None:
    for _ in range(_REPEATS):
        run()


def _any_style(content: np.ndarray, style: np.ndarray) -> Callable[[], Any]:
    """The shipped decoder; the style is measured too, as for a single picture."""
    import nst_jax as nst

    model = nst.load("anystyle")
    return lambda: model(content, style)


def _nchw(x: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def _torch_of(parameters: Any) -> dict[str, Any]:
    """The parameters of the second style, in PyTorch's layouts."""
    import torch

    found = {}
    for name, value in parameters.items():
        kind = name.rpartition(".")[2]
        value = value[1] if kind in ("scale", "shift") else value
        if kind == "kernel":
            value = value.transpose(3, 2, 0, 1)
        elif kind == "depthwise":
            value = value.transpose(2, 0, 1)[:, None]
        elif kind == "pointwise":
            value = value.T[..., None, None]
        found[name] = torch.from_numpy(np.ascontiguousarray(value))
    # `space_to_depth` has the channels last, `pixel_unshuffle` the pixels.
    kernel = found["conv1.kernel"]
    found["conv1.kernel"] = (
        kernel.reshape(32, 4, 3, 5, 5).transpose(1, 2).reshape(32, 12, 5, 5).contiguous()
    )
    return found


def _torch_transform(p: dict[str, Any], x: Any) -> Any:
    """The transformers for CPUs as one would write them in PyTorch."""
    import torch
    from torch.nn import functional

    def norm(name: str, x: Any) -> Any:
        return functional.instance_norm(x, weight=p[f"{name}.scale"], bias=p[f"{name}.shift"])

    def pad(x: Any, rim: int) -> Any:
        return functional.pad(x, (rim,) * 4, mode="reflect")

    def separable(name: str, x: Any) -> Any:
        wide = functional.conv2d(pad(x, 1), p[f"{name}.depthwise"], groups=x.shape[1])
        return functional.conv2d(wide, p[f"{name}.pointwise"])

    def residual(name: str, x: Any) -> Any:
        if f"{name}.kernel" in p:
            return norm(name, functional.conv2d(pad(x, 1), p[f"{name}.kernel"]))
        return norm(name, separable(name, x))

    def double(x: Any) -> Any:
        return functional.interpolate(x, scale_factor=2, mode="nearest")

    with torch.inference_mode():
        x = functional.conv2d(pad(functional.pixel_unshuffle(x, 2), 2), p["conv1.kernel"])
        x = norm("conv1", x).relu()
        x = norm("conv2", functional.conv2d(pad(x, 1), p["conv2.kernel"], stride=2)).relu()
        for i in range(1, 1 + sum(name.endswith(".a.scale") for name in p)):
            x = x + residual(f"res{i}.b", residual(f"res{i}.a", x).relu())
        x = norm("up1", separable("up1", double(x))).relu()
        x = functional.conv2d(double(pad(x, 2)), p["out.kernel"], p["out.bias"])
        return x.sigmoid()
