"""Weight files, the manifest, and the way from a name to a file that can be trusted."""

import functools
import hashlib
import http.server
import json
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy

from nst_jax.errors import InputError
from nst_jax.files import download, servers, weightfile, weights
from nst_jax.files.weightfile import CAFFE, TORCHVISION, Preprocessing

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch) -> dict[str, Path]:
    """The three places of weights, all empty, and no memory of earlier downloads."""
    places = {name: tmp_path / name for name in ("store", "cache", "package")}
    places["package"].mkdir()
    (places["package"] / "manifest.json").write_bytes((ROOT / "weights/manifest.json").read_bytes())
    monkeypatch.setenv("NST_JAX_WEIGHTS_DIR", str(places["store"]))
    monkeypatch.delenv("NST_JAX_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(weights, "_cache_folder", lambda: places["cache"])
    monkeypatch.setattr(weights, "_package_folder", lambda: places["package"])
    monkeypatch.setattr(servers, "_unreachable", {})
    return places


def write_small(path: Path, **changes) -> dict[str, np.ndarray]:
    """A weight file of an architecture whose shapes are not known here."""
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float16)}
    options = {"architecture": "other", "preprocessing": CAFFE, "source": "here", "licence": "CC0"}
    weightfile.save(path, tensors, **options, source_digest="sha256:00")
    if changes:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() | changes
        metadata = {k: v for k, v in metadata.items() if v is not None}
        safetensors.numpy.save_file(tensors, path, metadata)
    return tensors


# -------------------------------------------------------------------------- weight files


def test_a_weight_file_gives_back_what_was_saved(tmp_path):
    path = tmp_path / "new" / "w.safetensors"
    tensors = write_small(path)
    file = weightfile.load(path)
    assert file.path == path
    assert file.architecture == "other"
    assert file.preprocessing == CAFFE
    assert (file.metadata["format"], file.metadata["version"]) == ("nst_jax", "1")
    assert (file.metadata["source"], file.metadata["licence"]) == ("here", "CC0")
    for name, x in tensors.items():
        np.testing.assert_array_equal(file.tensors[name], x, strict=True)
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_the_digest_is_what_it_says():
    x, y = np.float32([[1, 2], [3, 4]]), np.float16([5])
    expected = hashlib.sha256(
        b"a\0float32\x002,2\0" + struct.pack("<4f", 1, 2, 3, 4) + b"b\0float16\x001\0\0\x45"
    )
    assert weightfile.digest({"b": y, "a": x}) == f"sha256:{expected.hexdigest()}"
    assert weightfile.digest({"a": x.astype(">f4"), "b": y}) == f"sha256:{expected.hexdigest()}"
    strided = np.asfortranarray(x)
    assert weightfile.digest({"a": strided, "b": y}) == f"sha256:{expected.hexdigest()}"
    others = ({"a": x.T, "b": y}, {"a": x}, {"c": x, "b": y}, {"a": x.reshape(4), "b": y})
    assert len({weightfile.digest(other) for other in others} | {expected}) == 5


def test_truncated_weight_files_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    write_small(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"w\.safetensors cannot be read"):
            weightfile.load(path)


def test_altered_tensors_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    write_small(path)
    whole = path.read_bytes()
    for position in range(1, 29):
        altered = bytearray(whole)
        altered[-position] ^= 1
        path.write_bytes(altered)
        with pytest.raises(InputError, match=r"w\.safetensors is altered or damaged"):
            weightfile.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": None}, "is not a weight file of nst_jax"),
        ({"format": "pt"}, "is not a weight file of nst_jax"),
        ({"version": "x"}, "is not a weight file of nst_jax"),
        ({"version": "0"}, "version 0.* fetch or convert it again"),
        ({"version": "2"}, "version 2; this nst_jax reads version 1: update nst_jax"),
        ({"digest": None}, "lacks digest"),
        ({"architecture": None, "preprocessing": None}, "lacks architecture, preprocessing"),
        ({"digest": "sha256:00"}, "altered or damaged"),
        ({"preprocessing": "{"}, "no valid preprocessing"),
        ({"preprocessing": '{"order": "GBR"}'}, "no valid preprocessing"),
        ({"architecture": "vgg19"}, r"conv1_1\.kernel is missing; conv1_1\.bias is missing"),
    ],
)
def test_files_that_are_not_weight_files_of_this_version(tmp_path, changes, message):
    path = tmp_path / "w.safetensors"
    write_small(path, **changes)
    with pytest.raises(InputError, match=message) as error:
        weightfile.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n", None])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=r"w\.safetensors"):
        weightfile.load(path)


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="NST_JAX_WEIGHTS_DIR"):
        write_small(tmp_path / "file" / "w.safetensors")


@pytest.mark.parametrize("how", [CAFFE, TORCHVISION, Preprocessing("RGB", 2.0, (1.0, 2.0, 3.0))])
def test_preprocessing_survives_json(how):
    values = {"order": how.order, "scale": how.scale, "mean": list(how.mean), "std": list(how.std)}
    assert Preprocessing.from_dict(json.loads(json.dumps(values))) == how
    for wrong in ({"order": "BRG"}, {"mean": [1, 2]}, {"std": [1, 0, 1]}, {"scale": 0}):
        with pytest.raises(ValueError, match="no preprocessing"):
            Preprocessing.from_dict(values | wrong)


# ------------------------------------------------------------------------------ manifest


def test_manifest_is_complete_and_consistent():
    entries = weights.manifest()
    wanted = {"vgg19", "vgg19-torchvision", "vgg19-matconvnet", "vgg19-gatys"}
    assert wanted | {"vgg16", "vgg16-torchvision"} <= entries.keys()
    assert len({entry.file for entry in entries.values()}) == len(entries)
    for name, entry in entries.items():
        assert entry.name == name
        assert entry.title
        assert entry.attribution
        assert entry.licence in ("CC-BY-4.0", "BSD-3-Clause")
        assert entry.embedded == entry.file.endswith(".safetensors")
        assert all(re.match(r"https?://", url) for url in entry.urls)
        assert entry.digest is None or re.match("(sha256|md5):", entry.digest)
        if not entry.embedded:
            assert entry.architecture in weightfile.ARCHITECTURES
            assert entry.format in ("keras", "torchvision", "gatys", "matconvnet")
    assert entries["vgg19-torchvision"].preprocessing == TORCHVISION
    assert entries["vgg19"].preprocessing == entries["vgg19-gatys"].preprocessing == CAFFE


def test_the_embedded_weights_are_those_of_the_manifest():
    entry = weights.manifest()["vgg19-lite"]
    path = ROOT / "weights" / entry.file
    assert entry.embedded
    assert path.stat().st_size == entry.size <= 5_000_000
    assert entry.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    file = weightfile.load(path)
    assert (file.architecture, file.preprocessing) == (entry.architecture, entry.preprocessing)


def test_manifest_is_found_in_a_checkout_and_in_a_wheel(tmp_path, monkeypatch):
    monkeypatch.undo()
    assert weights._package_folder() == ROOT / "weights"
    for parts in ("site/nst_jax/networks", "site/nst_jax/weights", "site/weights"):
        (tmp_path / parts).mkdir(parents=True)
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "site/nst_jax/files/weights.py"))
    assert weights._package_folder() == tmp_path / "site/nst_jax/weights"


def test_no_module_of_weights_needs_jax():
    code = (
        "import sys, nst_jax.files.weights as w; w.manifest(); "
        "sys.exit(' '.join({'jax', 'torch', 'flax', 'h5py'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# --------------------------------------------------------------------------------- places


def test_places_in_order(folders, monkeypatch):
    store, cache, package = folders.values()
    assert weights.search_path() == [store, cache, package]
    assert weights.store() == store
    monkeypatch.delenv("NST_JAX_WEIGHTS_DIR")
    assert weights.search_path() == [cache, package]
    assert weights.store() == cache
    for folder in (package, cache):
        write_small(folder / "vgg19.safetensors")
        assert weights.locate("vgg19") == folder / "vgg19.safetensors"


def test_the_cache_is_the_users(monkeypatch):
    monkeypatch.undo()
    assert weights._cache_folder().parts[-2:] == ("nst_jax", "weights")


def test_names_and_paths_are_located(folders, tmp_path):
    assert weights.locate("vgg19") is None
    own = tmp_path / "elsewhere" / "own.safetensors"
    write_small(own)
    assert weights.locate(own) == weights.locate(str(own)) == own
    write_small(folders["cache"] / "mine.safetensors")
    assert weights.locate("mine") == folders["cache"] / "mine.safetensors"
    assert weights.verify("mine").architecture == "other"
    with pytest.raises(InputError, match=r"no weight file .*none\.safetensors"):
        weights.locate("none.safetensors")
    with pytest.raises(InputError, match="nst-jax weights fetch vgg16"):
        weights.verify("vgg16")


@pytest.mark.parametrize("function", [weights.locate, weights.fetch, weights.verify])
def test_unknown_names_get_a_hint(function):
    with pytest.raises(InputError, match=r"'vgg91'\. Did you mean 'vgg19'") as error:
        function("vgg91")
    assert "vgg16-torchvision" in str(error.value)
    with pytest.raises(InputError, match=r"'resnet'\. Known are vgg19, "):
        function("resnet")


# ---------------------------------------------------------------------------------- fetch


@functools.cache
def keras_file(folder: Path) -> bytes:
    """A VGG16 of zeros and ones in Keras's layout: megabytes that compress to nothing."""
    with h5py.File(folder / "weights.h5", "w") as file:
        for name, shape in weightfile.expected_shapes("vgg16").items():
            block, i, kind = name[4], name[6], name[8:]
            data, path = np.full(shape, int(i), np.float32), f"block{block}_conv{i}/{kind}:0"
            file.create_dataset(path, data=data, compression="gzip", compression_opts=1)
    return (folder / "weights.h5").read_bytes()


@pytest.fixture
def source(tmp_path_factory, monkeypatch) -> Iterator[list[str]]:
    """Serves the manifest's vgg16 from this machine; gives the list of requests so far."""
    body = keras_file(tmp_path_factory.getbasetemp())
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            del args

        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serve(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}/x.h5", body)
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield requests
        server.shutdown()
        thread.join()


def serve(monkeypatch, url: str, body: bytes = b"", **changes) -> None:
    """Let the manifest name `url` as the source of vgg16."""
    fields = vars(weights.manifest()["vgg16"]) | {
        "urls": (url,),
        "size": len(body),
        "digest": f"sha256:{hashlib.sha256(body).hexdigest()}",
    }
    entries = dict(weights.manifest()) | {"vgg16": weights.Entry(**fields | changes)}
    monkeypatch.setattr(weights, "manifest", lambda: entries)


def test_fetch_downloads_converts_and_keeps(source, folders, capsys):
    path = weights.fetch("vgg16")
    assert path == folders["store"] / "vgg16.safetensors" == weights.locate("vgg16")
    assert [p.name for p in folders["store"].iterdir()] == ["vgg16.safetensors"]
    shown = capsys.readouterr().err
    assert re.search(r"Fetching VGG16 of Oxford.*: \d+ MB from http://127\.0\.0\.1", shown)
    file = weights.verify("vgg16")
    assert file.preprocessing == CAFFE
    assert file.metadata["source"].startswith("http://127.0.0.1")
    assert file.metadata["licence"] == "CC-BY-4.0"
    assert (file.tensors["conv3_3.kernel"] == 3).all()
    assert weights.fetch("vgg16") == weights.fetch("vgg16", offline=True) == path
    assert len(source) == 1


def test_fetch_can_be_silent_and_goes_to_the_cache(source, folders, capsys, monkeypatch):
    monkeypatch.delenv("NST_JAX_WEIGHTS_DIR")
    assert weights.fetch("vgg16", progress=False) == folders["cache"] / "vgg16.safetensors"
    assert capsys.readouterr().err == ""
    assert len(source) == 1


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_offline_never_tries(source, monkeypatch, value):
    with pytest.raises(InputError, match="nst-jax weights convert") as error:
        weights.fetch("vgg16", offline=True)
    assert "NST_JAX_OFFLINE" in str(error.value)
    monkeypatch.setenv("NST_JAX_OFFLINE", value)
    with pytest.raises(InputError, match="switched off"):
        weights.fetch("vgg16")
    assert source == []
    monkeypatch.setenv("NST_JAX_OFFLINE", "0")
    weights.fetch("vgg16", progress=False)
    assert len(source) == 1


def test_weights_without_a_digest_are_not_fetched_unseen(source, monkeypatch):
    right = weights.manifest()["vgg16"].digest
    url = weights.manifest()["vgg16"].urls[0]
    serve(monkeypatch, url, digest=None, size=None)
    with pytest.raises(InputError, match=r"No digest of .* has been published"):
        weights.fetch("vgg16", progress=False)
    with pytest.raises(download.DownloadError, match="does not have the digest sha256:00"):
        weights.fetch("vgg16", progress=False, digest="sha256:" + "0" * 64)
    assert weights.locate("vgg16") is None
    assert weights.fetch("vgg16", progress=False, digest=right)
    with pytest.raises(InputError, match="No digest"):
        weights.fetch("vgg19-gatys")


def test_an_unreachable_source_says_what_to_do(folders, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve(monkeypatch, f"http://127.0.0.1:{port}/x.h5")
    for _ in range(2):
        with pytest.raises(download.DownloadError, match="unreachable") as error:
            weights.fetch("vgg16", progress=False)
    assert error.value.unreachable
    assert "nst-jax weights convert vgg16_weights_tf" in str(error.value)
    assert str(folders["store"]) in str(error.value)
    assert "NST_JAX_WEIGHTS_DIR" in str(error.value)


def test_embedded_weights_come_with_the_package(folders, monkeypatch):
    fields = {"name": "lite", "file": "lite.safetensors", "urls": ()}
    lite = weights.Entry(**vars(weights.manifest()["vgg19"]) | fields)
    monkeypatch.setattr(weights, "manifest", lambda: {"lite": lite})
    assert lite.embedded
    with pytest.raises(InputError, match=r"lite\.safetensors is missing.* install nst_jax again"):
        weights.fetch("lite")
    write_small(folders["package"] / "lite.safetensors")
    assert weights.fetch("lite", offline=True) == weights.locate("lite")
    assert weights.locate("lite") == folders["package"] / "lite.safetensors"


# -------------------------------------------------------------------------------- convert


def test_converting_by_hand_puts_the_file_where_it_is_found(tmp_path, tmp_path_factory, folders):
    body = keras_file(tmp_path_factory.getbasetemp())
    known = tmp_path / weights.manifest()["vgg16"].file
    for path, name in ((known, "vgg16"), (tmp_path / "mine.h5", "mine")):
        path.write_bytes(body)
        assert weights.convert_file(path) == folders["store"] / f"{name}.safetensors"
        assert weights.verify(name).architecture == "vgg16"
    target = tmp_path / "own.safetensors"
    assert weights.convert_file(known, target, preprocessing="torchvision") == target
    assert weights.verify(target).preprocessing == TORCHVISION
    with pytest.raises(InputError, match=r"'own\.h5' is not"):
        weights.convert_file(known, "own.h5")
