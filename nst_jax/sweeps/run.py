"""sweep(): a grid of stylizations in one call, on all devices.

Side effects (files, the progress bar) are in this module.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any

import jax
from PIL import Image
from tqdm.auto import tqdm

from nst_jax.errors import InputError
from nst_jax.networks.base import Network
from nst_jax.options import in_range
from nst_jax.pictures.masks import MapSource
from nst_jax.pictures.sources import PictureSource
from nst_jax.stylizing.again import longer
from nst_jax.stylizing.inputs import Sources
from nst_jax.stylizing.pyramid import Progress
from nst_jax.stylizing.result import Stylization
from nst_jax.sweeps.axes import Style, labelled, points, split
from nst_jax.sweeps.batches import Group, groups, run
from nst_jax.sweeps.folder import Folder
from nst_jax.sweeps.lanes import Lane, digests, lanes_of
from nst_jax.sweeps.plan import plan_of
from nst_jax.sweeps.processes import agreed, heard, is_first, share, wait
from nst_jax.sweeps.result import EARLY, Sweep
from nst_jax.sweeps.viewing import SweepProgress, Viewer, notebook


def sweep(
    content: PictureSource | None = None,
    style: Style | None = None,
    *,
    contents: Mapping[str, PictureSource] | Sequence[PictureSource] | None = None,
    styles: Mapping[str, Style] | Sequence[Style] | None = None,
    content_regions: MapSource | None = None,
    style_regions: MapSource | Sequence[MapSource | None] | None = None,
    keep: PictureSource | None = None,
    how: str = "product",
    network: str | os.PathLike | Network | Sequence[str] = "auto",
    offline: bool | None = None,
    progress: bool = True,
    callback: Callable[[SweepProgress], Any] | None = None,
    output: str | os.PathLike | None = None,
    resume: bool = False,
    in_flight: int | None = None,
    devices: Sequence[Any] | None = None,
    **options: Any,
) -> Sweep:
    """Stylize over a grid: `sweep(content, style, style_weight=[1e2, 1e3], seed=[0, 1])`.

    Any option of `stylize` may be a list of values, and is then an axis. By default each
    combination of values is a lane. Lanes that differ only in weights, layer weights, blends,
    learning rate, seed, start, content or style share one compiled program and one network; with
    the same pictures they share their targets too. Other options divide the lanes into groups, and
    each group is compiled by itself. Lanes run side by side on each device, as many as fit and save
    time. They are spread over all devices and, with `jax.distributed`, over all processes. No
    lane's result depends on the others.

    Args:
        content: one picture, as for `stylize`.
        style: one style, as for `stylize`.
        contents: an axis of pictures instead of `content`: a list, or a mapping from names to
            pictures.
        styles: an axis of styles instead of `style`, given likewise. An element may be a list of
            pictures to mix.
        content_regions: as for `stylize`, for all lanes.
        style_regions: likewise.
        keep: likewise.
        how: `"product"` for all combinations of the axes, the last one changing fastest; `"zip"`
            for the first values of all axes, then the second values, and so on.
        network: as for `stylize`, or a list of names as an axis.
        offline: never download weights; None follows `NST_JAX_OFFLINE`.
        progress: show a bar over all lanes; in a notebook also the contact sheet, which grows.
        callback: called with a `SweepProgress` after each chunk of evaluations, about every three
            seconds. If it returns True, the sweep stops.
        output: a new folder for the pictures (PNG, with settings embedded), `table.csv`,
            `sheet.png`, `sweep.json`, and `index.html`, a page to look at them. A lane is written
            as soon as it ends; the sheet grows meanwhile. If writing fails, as on a full disk, a
            warning says so and the sweep goes on; `save` may be tried again.
        resume: continue the sweep that `output` holds. Its finished lanes are read from their
            files, in 8 bits.
        in_flight: lanes side by side on each device; None chooses by memory and backend.
        devices: the devices to use; None for all devices of this process.
        **options: `preset` and the fields of `Settings`, or lists of their values. For options
            whose value is a list itself (layers, `style_blend`), a list of lists or of mappings is
            an axis.

    Returns:
        A `Sweep`. After Ctrl-C it has the lanes that were finished, and those that were running
        with the status `"interrupted"`; these are not written to `output`. It is likewise when the
        callback stops it, with the status `"stopped"`. Of several processes, each has its own
        lanes, and the first has all.

    Raises:
        InputError: something cannot be used; the message says what to do.
        KeyboardInterrupt: Ctrl-C before there was a picture.
    """
    in_range(in_flight, "in_flight", Integral, 1, 1_000_000, optional=True)
    if isinstance(keep, list | tuple):
        raise InputError(
            "keep is one mask for all lanes, and cannot be an axis: call sweep once for each mask."
        )
    if callback is not None and not callable(callback):
        raise InputError(f"callback is {callback!r}, but must be a function, or None.")
    if output is None and (resume or jax.process_count() > 1):
        why = "resume goes on with" if resume else "Several processes need"
        raise InputError(f"{why} a folder: give output, one that all processes can reach.")
    named = _pictures(content, contents, "content"), _pictures(style, styles, "style")
    fixed, axes = split(options if isinstance(network, Network) else options | {"network": network})
    chosen = {
        name: list(pictures)
        for name, pictures, given in zip(
            ("content", "style"), named, (contents, styles), strict=True
        )
        if given is not None
    }
    found = points(chosen | axes, how)
    regions = Sources(None, (), None, content_regions, style_regions, keep)
    lanes = lanes_of(
        found, fixed, *named, regions, network=network, offline=offline, progress=progress
    )
    sweep_ = Sweep.of([lane.values for lane in lanes], how)
    folder = None
    if output is not None:
        networks = {lane.network.name: lane.network.digest for lane in lanes}
        settings = [lane.settings for lane in lanes]
        pictures = digests(*named) | {"regions": regions.names()}
        plan = plan_of(how, sweep_.axes, sweep_.points, settings, pictures, networks)
        folder = Folder(output, plan)
    grouped, on = groups(lanes, in_flight), devices or jax.local_devices()
    sweep_ = replace(sweep_, continued=partial(_continued, lanes, in_flight, on))
    with contextlib.ExitStack() as stack:
        done = agreed(len(lanes), lambda: _begun(folder, resume, stack)) if folder else []
        todo = [i for i in range(len(lanes)) if i not in done]
        mine = share(todo)
        results = {i: folder.result(i) for i in done} if folder else {}
        first, runs = is_first(), [group.only(mine) for group in grouped]
        show = partial(_show, folder) if folder and first else None
        sinks = [notebook() if progress and first else None, show]
        view = Viewer(sweep_, results, _total(runs), callback, [sink for sink in sinks if sink])
        try:
            with heard(folder):
                _run(runs, results, folder, on, view, progress=progress and first)
                if folder and is_first():
                    wait(folder, todo)
                    results |= {i: folder.result(i) for i in todo if i not in mine}
        finally:
            if folder and is_first():
                # Another process may have done lanes before it died, or this one was interrupted.
                done = filter(folder.is_done, range(len(lanes)))
                kept = {i: results[i] if i in results else folder.result(i) for i in done}
                with _told(folder):
                    replace(sweep_, results=kept).sum_up(folder)
    return replace(sweep_, results=results)


@contextlib.contextmanager
def _told(folder: Folder) -> Iterator[None]:
    """Warn of files that cannot be written: the results must not be lost with them."""
    try:
        yield
    except (OSError, InputError) as error:
        reason = getattr(error.__cause__ or error, "strerror", None) or error
        warnings.warn(
            f"The folder '{folder.path}' cannot be written to ({reason}): the sweep goes on, and "
            "what is missing there comes with resume.",
            RuntimeWarning,
            stacklevel=4,
        )


def _show(folder: Folder, sheet: Image.Image) -> None:
    """Write the contact sheet as it is so far."""
    with _told(folder):
        folder.show(sheet)


def _begun(folder: Folder, resume: bool, stack: contextlib.ExitStack) -> list[int]:
    """Begin or resume in the folder, and hold it until `stack` ends."""
    stack.enter_context(folder.held())
    return folder.begin(resume=resume)


def _run(
    runs: Sequence[Group],
    results: dict[int, Stylization],
    folder: Folder | None,
    devices: Sequence[Any],
    view: Viewer,
    *,
    progress: bool,
) -> None:
    """Run the groups, and add their results to `results` and the folder; Ctrl-C ends it early."""
    lanes = [lane for group in runs for lane in group.lanes]
    bar = tqdm(total=_total(runs), disable=not progress, unit="eval", desc="sweep")
    before, stopped = len(results), False

    def report(running: Mapping[int, Progress]) -> bool:
        stop = view(running)
        bar.update(min(view.evaluations, _total(runs)) - bar.n)
        return stop

    with bar:
        bar.set_postfix(lanes=f"0/{len(lanes)}")
        try:
            for group in runs:
                for number, result in run(group, devices, report):
                    results[number] = result
                    if folder and result.status not in EARLY:
                        with _told(folder):
                            folder.keep(number, result)
                    bar.set_postfix(lanes=f"{len(results) - before}/{len(lanes)}")
                    stopped = result.status == "stopped"
                if stopped:
                    break
        except KeyboardInterrupt:
            if not results:
                raise


def _total(runs: Sequence[Group]) -> int:
    return sum(group.total for group in runs)


def _continued(
    lanes: Sequence[Lane],
    in_flight: int | None,
    devices: Sequence[Any],
    results: Mapping[int, Stylization],
    iterations: int,
    *,
    progress: bool,
) -> dict[int, Stylization]:
    """Go on with these results, side by side; see `Sweep.go_on`."""
    again = [lanes[i].from_picture(longer(r.image, iterations)) for i, r in results.items()]
    runs, found = groups(again, in_flight), dict[int, Stylization]()
    view = Viewer(Sweep.of([lane.values for lane in again], "zip"), found, _total(runs), None, [])
    _run(runs, found, None, devices, view, progress=progress)
    return found


def _pictures(one: Any, several: Any, what: str) -> dict[str, Any]:
    """Pictures by name, from either `content` or `contents` (or `style` or `styles`)."""
    if (one is None) == (several is None):
        either = "both are given" if several is not None else "neither is given"
        raise InputError(f"Give one {what} or {what}s, a list of them: {either}.")
    if what == "content" and isinstance(one, list | tuple):
        raise InputError("content is one picture: give several as contents=, a list of them.")
    return labelled(several if several is not None else [one], what)
