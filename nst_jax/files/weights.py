"""Find, download and convert weights: the manifest of known weights and the folders for them."""

import contextlib
import difflib
import functools
import os
import re
import sys
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Any

import platformdirs

from nst_jax.errors import InputError
from nst_jax.files import convert, download, locks, weightfile
from nst_jax.files.untrusted import MAX_BYTES, is_name, parse_json
from nst_jax.files.weightfile import Preprocessing, WeightFile
from nst_jax.options import is_number

FOLDER_VARIABLE = "NST_JAX_WEIGHTS_DIR"
OFFLINE_VARIABLE = "NST_JAX_OFFLINE"


@dataclass(frozen=True)
class Entry:
    """The manifest's entry for one set of weights.

    `file` is the name of the source file at `urls`, which are in order of preference. `size` (in
    bytes) and `digest` are None where nobody has published them. Without `urls` the weights are
    part of the package, and `file` is the weight file itself.
    """

    name: str
    title: str
    architecture: str
    file: str
    urls: tuple[str, ...]
    size: int | None
    digest: str | None
    format: str
    layout: str
    preprocessing: Preprocessing
    licence: str
    attribution: str

    @property
    def embedded(self) -> bool:
        """Whether the weights are part of the package."""
        return not self.urls


@functools.cache
def manifest() -> Mapping[str, Entry]:
    """The known weights by name, in the order of `weights/manifest.json`."""
    return read_manifest(_package_folder() / "manifest.json")


def read_manifest(path: Path) -> Mapping[str, Entry]:
    """The entries of a manifest by name, in its order.

    Raises:
        InputError: the file cannot be read, or is no manifest.
    """
    try:
        return _entries(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(
            f"The list of known weights {str(path)!r} is damaged ({error}): install nst_jax again."
        ) from error


def _entries(plain: Any) -> Mapping[str, Entry]:
    entries = {}
    for fields in plain["weights"]:
        fields["urls"] = tuple(fields["urls"])
        fields["preprocessing"] = Preprocessing.from_dict(fields["preprocessing"])
        found = Entry(**fields)
        if not (is_name(found.name) and is_name(found.file)):
            raise ValueError(f"{found.name} is not a name")
        if not all(map(_is_web, found.urls)):
            raise ValueError(f"{found.name} has an address that is not of the web")
        if not (found.size is None or is_number(found.size, Integral, 1, MAX_BYTES)):
            raise ValueError(f"{found.name} has the size {found.size}")
        entries[found.name] = found
    return MappingProxyType(entries)


def _is_web(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0


def search_path() -> list[Path]:
    """The folders in which weight files are searched, in this order.

    They are the folder of the environment variable `NST_JAX_WEIGHTS_DIR` if set, the user's cache,
    and the `weights` folder of the installed package or of the checkout.
    """
    return [*dict.fromkeys([store(), _cache_folder(), _package_folder()])]


def store() -> Path:
    """The folder for downloaded and converted weights: `NST_JAX_WEIGHTS_DIR`, or else the cache."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder).expanduser() if folder else _cache_folder()


def locate(name: str | os.PathLike) -> Path | None:
    """Find a weight file by name (`"vgg19"`) or path.

    Returns:
        The file, or None if the name is known but the weights are not on this machine.

    Raises:
        InputError: the name is unknown, or there is no file at the path.
    """
    given = Path(name).expanduser()
    if given.suffix or len(given.parts) > 1:
        if os.path.isfile(given):
            return given
        raise InputError(f"There is no weight file {given}.")
    for folder in search_path():
        path = folder / f"{given}.safetensors"
        if os.path.isfile(path):
            return path
    entry(str(name))
    return None


def find_model(name: str | os.PathLike) -> Path:
    """The path of a model file, given as a path or as the name of a model in `search_path`.

    A name that is not found there is returned as a path.
    """
    given = Path(name)
    if given.name != os.fspath(name) or given.suffix or os.path.isfile(given):
        return given
    places = [folder / f"{given}.safetensors" for folder in search_path()]
    return next((place for place in places if os.path.isfile(place)), given)


def entry(name: str) -> Entry:
    """The manifest's entry with this name.

    Raises:
        InputError: the name is unknown; the message gives the nearest and all known names.
    """
    known = manifest()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(
            f"There are no weights called '{name}'.{hint} Known are {', '.join(known)}, and any "
            "path of a .safetensors that `nst-jax weights convert` wrote."
        )
    return known[name]


def verify(name: str | os.PathLike) -> WeightFile:
    """Read a weight file by name or path and check it against its digest.

    Raises:
        InputError: the name is unknown, or the file is missing, damaged, altered, of another kind
            or another version.
    """
    path = locate(name)
    if path is None:
        raise InputError(
            f"The weights '{name}' are not on this machine (looked in "
            f"{', '.join(map(str, search_path()))}): `nst-jax weights fetch {name}` gets them."
        )
    return weightfile.load(path)


def convert_file(
    source: str | os.PathLike,
    target: str | os.PathLike | None = None,
    *,
    architecture: str | None = None,
    preprocessing: str | Preprocessing | None = None,
    transpose: bool = False,
) -> Path:
    """Convert a Keras, PyTorch, MatConvNet or npz file that the user has; see `convert.convert`.

    Args:
        source: the file.
        target: the `.safetensors` file to write. None writes to `store()`: under the manifest's
            name if the manifest knows the file name of `source`, otherwise under that name itself.
        architecture: `"vgg19"` or `"vgg16"`; None finds it from the layers.
        preprocessing: `"caffe"`, `"torchvision"` or a `Preprocessing`; None takes the usual one
            for the file's format.
        transpose: swap the two spatial axes of every kernel, for files that have them swapped.

    Raises:
        InputError: the file cannot be read, lacks layers, or its preprocessing is ambiguous.
    """
    source = Path(source)
    known = next((e for e in manifest().values() if e.file == source.name), None)
    if target is None:
        target = store() / f"{known.name if known else source.stem}.safetensors"
    elif Path(target).suffix != ".safetensors":
        raise InputError(f"Weight files are .safetensors; '{target}' is not. Give such a name.")
    return convert.convert(
        source,
        target,
        architecture=architecture,
        preprocessing=preprocessing,
        transpose=transpose,
        licence=known.licence if known else None,
    )


def fetch(
    name: str,
    *,
    offline: bool | None = None,
    progress: bool = True,
    digest: str | None = None,
) -> Path:
    """Download known weights, check them, convert them and store them.

    Weights that are already on this machine are not downloaded again.

    Args:
        name: a name in the manifest.
        offline: True never downloads. False also tries servers that earlier calls could not
            reach. None follows `NST_JAX_OFFLINE` and does not try those servers again.
        progress: print what is downloaded, and show a bar.
        digest: digest of the source file, if the manifest has none.

    Returns:
        The path of the weight file.

    Raises:
        InputError: the name is unknown, downloads are switched off, there is no digest, or the
            folder cannot be written to.
        DownloadError: (an `InputError`) no server could be reached, or none had the right file.
    """
    wanted = entry(name)
    found = locate(name)
    if found:
        return found
    if wanted.embedded:
        raise InputError(
            f"The weights '{name}' are part of the package, but {wanted.file} is missing from "
            f"{_package_folder()}: install nst_jax again."
        )
    folder = store()
    by_hand = (
        f"Or get {wanted.file} by other means and run `nst-jax weights convert {wanted.file}`; "
        f"weights are looked for in {folder} (set {FOLDER_VARIABLE} for another folder)."
    )
    if _is_offline() if offline is None else offline:
        raise InputError(
            f"The weights '{name}' are not on this machine, and fetching is switched off "
            f"(--offline or {OFFLINE_VARIABLE}). Allow it, or use the network vgg19-lite. {by_hand}"
        )
    digest = digest or wanted.digest
    if digest is None:
        raise InputError(
            f"No digest of {wanted.file} has been published, so it is not fetched unseen: give its "
            f"digest, sha256:HEX, if you know it from a source you trust. {by_hand}"
        )
    with contextlib.suppress(OSError):  # whoever writes to the folder says why that fails
        folder.mkdir(parents=True, exist_ok=True)
    busy = f"Another process is fetching weights to {folder}: waiting for it."
    with locks.held(folder, busy, wait=True):
        return locate(name) or _fetch(wanted, folder, digest, offline is False, progress, by_hand)


def _fetch(
    wanted: Entry, folder: Path, digest: str, retry: bool, progress: bool, by_hand: str
) -> Path:
    if progress:
        size = f"{wanted.size / 1e6:.0f} MB" if wanted.size else "size unknown"
        print(f"Fetching {wanted.title}: {size} from {wanted.urls[0]}", file=sys.stderr)
    source = download.download(
        wanted.urls,
        folder / wanted.file,
        digest=digest,
        size=wanted.size,
        retry_unreachable=retry,
        progress=progress,
        advice=f"Check the connection and try again. {by_hand}",
    )
    path = convert.convert(
        source,
        folder / f"{wanted.name}.safetensors",
        architecture=wanted.architecture,
        preprocessing=wanted.preprocessing,
        licence=wanted.licence,
        origin=wanted.urls[0],
    )
    weightfile.load(path)
    source.unlink()
    return path


def _is_offline() -> bool:
    return not re.fullmatch(r"\s*(0|false|no|off)?\s*", os.environ.get(OFFLINE_VARIABLE, ""), re.I)


def _cache_folder() -> Path:
    return Path(platformdirs.user_cache_dir("nst_jax", appauthor=False)) / "weights"


def _package_folder() -> Path:
    """`nst_jax/weights` in an installed package; `weights` beside `nst_jax` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"
