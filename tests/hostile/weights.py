"""Weight files, model files, and the files of other programs that are converted to them."""

import functools
import io
import json
import pickle
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import foreign
import formats
import h5py
import numpy as np
import scipy.io
import tiny

import nst_jax as nst
from hostile import mutations
from hostile.kinds import Kind
from nst_jax.errors import InputError
from nst_jax.files import torchfile, weightfile, weights
from nst_jax.models import convert as model_convert
from nst_jax.models import modelfile, predictor, transfer
from nst_jax.models.predictor import LAYERS
from nst_jax.models.stages import initial, shapes
from nst_jax.models.transformer import Architecture
from nst_jax.networks import lite
from nst_jax.networks.load import build, load_network

# Readers expect VGG19's topology; the campaign makes it this narrow in `weightfile.WIDTHS`.
WIDTHS = (4, 4, 6, 6, 6)


@functools.cache
def _tensors() -> dict[str, np.ndarray]:
    return tiny.tensors(WIDTHS)


def _written(write: Callable[[Path], Any], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"made{suffix}"
        write(path)
        return path.read_bytes()


# ----------------------------------------------------------------------------- our own files


def _saved(tensors: Mapping[str, np.ndarray], architecture: str) -> bytes:
    return _written(
        lambda path: weightfile.save(
            path,
            tensors,
            architecture=architecture,
            preprocessing=weightfile.CAFFE,
            source="made",
            source_digest="",
            licence="CC0-1.0",
        ),
        ".safetensors",
    )


@functools.cache
def vgg() -> bytes:
    """A weight file of VGG19's topology."""
    return _saved(_tensors(), "vgg19")


@functools.cache
def _lite() -> bytes:
    rng, found, depth = np.random.default_rng(0), {}, 3
    for conv in (conv for block in lite.BLOCKS for conv in block):
        found[f"{conv}.kernel"] = np.float32(rng.normal(size=(3, 3, depth, 4)))
        found[f"{conv}.bias"] = np.float32(rng.normal(size=4))
        found[f"{conv.replace('conv', 'relu')}.head"] = np.float32(rng.normal(size=(4, 4)))
        depth = 4
    kept = {k: v for k, v in found.items() if ".head" not in k or k[:-5] in lite.WIDTHS}
    return _saved(kept, lite.ARCHITECTURE)


@functools.cache
def _transformer() -> bytes:
    architecture = Architecture("small", styles=2, blocks=1)
    model = modelfile.ModelFile(
        modelfile.TRANSFORMER,
        modelfile.plain(architecture),
        initial(architecture.shapes),
        ("day", "night"),
        {"steps": 3},
    )
    return _written(lambda path: modelfile.save(path, model), ".safetensors")


@functools.cache
def _any_style() -> bytes:
    network = load_network(lite.ARCHITECTURE)
    stages = transfer.decoder("relu1_1", 4, False)
    architecture = {
        "method": "adain",
        "levels": {"relu1_1": 4},
        "full": False,
        "encoder": network.name,
        "encoder_digest": network.digest,
    }
    model = modelfile.ModelFile(modelfile.ANY_STYLE, architecture, initial(shapes(stages)))
    return _written(lambda path: modelfile.save(path, model), ".safetensors")


@functools.cache
def _predicted() -> bytes:
    network = load_network(lite.ARCHITECTURE)
    widths = tuple(network(np.zeros((16, 16, 3)), LAYERS)[layer].shape[-1] for layer in LAYERS)
    found = predictor.Predictor(Architecture("small", blocks=0), widths, 2, 2)
    begin = initial(found.transformer.shapes) | predictor.initial(found)
    architecture = modelfile.plain(found) | {
        "encoder": network.name,
        "encoder_digest": network.digest,
    }
    tensors = {name: begin[name] for name in found.shapes}
    model = modelfile.ModelFile(modelfile.PREDICTED, architecture, tensors)
    return _written(lambda path: modelfile.save(path, model), ".safetensors")


def _restated(rng: Random, data: bytes) -> bytes:
    """Edited metadata, and tensors whose digest is right: what only a person would make."""
    header, body = mutations.parts_of(data)
    about = dict(header["__metadata__"])
    for name in ("model", "preprocessing"):
        if name in about:
            about[name] = json.loads(about[name])
    about = mutations.edited(rng, about)
    if not isinstance(about, dict):
        return mutations.safetensors_of(header | {"__metadata__": about}, body)
    about = {
        str(k): v if isinstance(v, str) else mutations.text_of(rng, v) for k, v in about.items()
    }
    text = json.dumps(header | {"__metadata__": about}).replace("\\ud800", "?")
    return mutations.safetensors_of(text.encode(), body)


def _retensored(rng: Random, data: bytes) -> bytes:
    """Tensors of other shapes, types and values, whose digest is right."""
    from safetensors.numpy import load, save

    tensors, about = load(data), mutations.parts_of(data)[0]["__metadata__"]
    name = rng.choice(list(tensors))
    x, what = tensors.pop(name), rng.randrange(6)
    if what == 0:
        tensors[name] = x.reshape(-1)
    elif what == 1:
        tensors[name] = x.astype(rng.choice(("f8", "i4", "u1", "?", "f2", "u8")))
    elif what == 2:
        tensors[name] = np.full_like(x, rng.choice((np.nan, np.inf, 1e38, -1e38, 0)))
    elif what == 3:
        tensors[name + rng.choice(mutations.PLACES[:10])] = x
    elif what == 4:
        tensors[name] = np.zeros(rng.choice(((), (0,), (0, 3), (1,) * 9, (3, 3, 3, 7))), x.dtype)
    return save(tensors, about | {"digest": weightfile.digest(tensors)})


def _ours(rng: Random, data: bytes) -> bytes:
    step = rng.choice((mutations.safetensors, mutations.safetensors, _restated, _retensored))
    return step(rng, data)


def _make_weights(rng: Random, folder: Path) -> None:
    (folder / "net.safetensors").write_bytes(_ours(rng, rng.choice((vgg(), _lite()))))


def _read_weights(case: Path, out: Path) -> None:
    del out
    build(weights.verify(case / "net.safetensors"))


def _make_model(rng: Random, folder: Path) -> None:
    data = _ours(rng, rng.choice((_transformer(), _transformer(), _any_style(), _predicted())))
    (folder / "model.safetensors").write_bytes(data)


def _read_model(case: Path, out: Path) -> None:
    del out
    model = nst.load(case / "model.safetensors", offline=True)
    assert model.digest


# ----------------------------------------------------------------------------- other programs'


def _keras(path: Path, **how: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, value in _tensors().items():
            layer = f"block{name[4]}_conv{name[6]}"
            place = f"{layer}/{layer}_{'W_1:0' if name.endswith('kernel') else 'b_1:0'}"
            file.create_dataset(place, data=value, **how)


def _keras_pointing_elsewhere(path: Path) -> None:
    """Data that lies in other files, and a huge dataset of which nothing is stored."""
    with h5py.File(path, "w") as file:
        layer = file.create_group("block1_conv1")
        where = str(Path("..") / "outside" / "secret.png")
        layer.create_dataset("W_1:0", (3, 3, 1, 1), "u1", external=[(where, 0, 9)])
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("../outside/secret.h5", "x", (4,))
        layer.create_virtual_dataset("b_1:0", layout)
        file["block2_conv1"] = h5py.ExternalLink("../outside/secret.h5", "/")
        file["block2_conv2"] = h5py.SoftLink("/")


def _keras_bomb(path: Path) -> None:
    with h5py.File(path, "w") as file:
        shape = (3, 3, 2**12, 2**12)
        file.create_dataset(
            "block1_conv1/W_1:0", shape, "f4", chunks=(3, 3, 64, 64), fillvalue=1, compression=9
        )


def _matconvnet(path: Path) -> None:
    cells = []
    for name in weightfile.layer_names("vgg19"):
        pair = np.empty((1, 2), object)
        pair[0, 0], pair[0, 1] = _tensors()[f"{name}.kernel"], _tensors()[f"{name}.bias"]
        cells.append({"name": name, "type": "conv", "weights": pair})
    about = {"meta": {"normalization": {"averageImage": np.reshape([1.0, 2, 3], (1, 1, 3))}}}
    packed = path.stem == "packed"
    values = {"layers": np.array(cells).reshape(1, -1), **about}
    scipy.io.savemat(path, values, oned_as="row", do_compression=packed)


def _text(x: Any) -> bytes:
    """The opcodes of a plain value."""
    return pickle.dumps(x, protocol=0)[:-1]


def torch_tensor(
    key: str, count: Any, shape: Any, strides: Any, kind: str = "FloatStorage", more: bytes = b""
) -> bytes:
    """The opcodes of a tensor as `torch.save` writes it; `more` follows."""
    storage = b"((" + _text("storage") + f"ctorch\n{kind}\n".encode() + _text(key) + _text("cpu")
    args = storage + _text(count) + b"tQ" + _text(0) + _text(shape) + _text(strides) + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + args + b"R" + more


def torch_state(tensors: Mapping[str, bytes]) -> bytes:
    """The pickle of a dict whose values are given as opcodes."""
    return b"(" + b"".join(_text(name) + value for name, value in tensors.items()) + b"d."


def _torch_parts() -> tuple[bytes, dict[str, bytes]]:
    """The pickle of a state dict, and the data of its storages."""
    state, data = {}, {}
    for number, (name, value) in enumerate(_tensors().items()):
        x = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
        x, key = np.ascontiguousarray(x), str(number)
        strides = tuple(s // x.itemsize for s in x.strides)
        name = name.replace("kernel", "weight")
        state[name] = torch_tensor(key, x.size, x.shape, strides)
        data[key] = x.tobytes()
    return torch_state(state), data


def torch_zip(state: bytes, data: Mapping[str, bytes], packed: bool = False) -> bytes:
    """A file of `torch.save`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as to:
        to.writestr("archive/data.pkl", state)
        to.writestr("archive/byteorder", "little")
        for key, value in data.items():
            to.writestr(f"archive/data/{key}", value)
        to.writestr("archive/version", "3")
    return file.getvalue()


def _torch_legacy() -> bytes:
    state, data = _torch_parts()
    heads = (torchfile.LEGACY_MAGIC, 1001, {"protocol_version": 1001, "little_endian": True})
    parts = [*(pickle.dumps(head, 2) for head in heads), state, pickle.dumps(list(data), 2)]
    parts += [struct.pack("<q", len(value) // 4) + value for value in data.values()]
    return b"".join(parts)


def _torch_traps() -> dict[str, bytes]:
    """Pickles that do with what a reader allows what it must not do."""
    one = {"0": np.ones(4, np.float32).tobytes()}

    def of(value: bytes, data: Mapping[str, bytes] = one, **options: Any) -> bytes:
        return torch_zip(torch_state({"conv1_1.weight": value}), data, **options)

    def rebuilt(**state: Any) -> bytes:
        return torch_tensor("0", 4, (4,), (1,), more=_text(state) + b"b")

    laughs = b"(tp0\n" + b"".join(b"0(g%d\ng%d\ntp%d\n" % (n, n, n + 1) for n in range(60))
    return {
        "strides below zero by BUILD": of(rebuilt(strides=(-(10**6),))),
        "an offset by BUILD": of(rebuilt(offset=-(10**7))),
        "a shape by BUILD": of(rebuilt(shape=(10**9, 10**9), strides=(0, 0))),
        "a storage type by BUILD": of(b"ctorch\nFloatStorage\n" + _text({"dtype": "f8"}) + b"b"),
        "values without data": of(torch_tensor("0", 4, (2**40,), (0,))),
        "a shape beyond all numbers": of(torch_tensor("0", 4, (2**62, 2**62, 0), (1, 1, 1))),
        "a storage that is not there": of(
            torch_tensor("../../../outside/secret.png", 4, (4,), (1,))
        ),
        "a count beyond the data": of(torch_tensor("0", 2**60, (4,), (1,))),
        "packed zeros": of(
            torch_tensor("0", 2**25, (2**12, 2**13, 1, 1), (2**13, 1, 1, 1)),
            {"0": bytes(2**27)},
            packed=True,
        ),
        "laughs as a key": torch_zip(b"(" + laughs + _text(1) + b"d.", one),
        "laughs as a kind": of(
            b"(" + laughs + b"ctorch\nFloatStorage\n" + _text("0") + _text("cpu") + _text(4) + b"tQ"
        ),
        "code": of(b"cos\nsystem\n(" + _text("touch ../outside/made") + b"tR"),
        "code by INST": of(b"(" + _text("touch ../outside/made") + b"ios\nsystem\n"),
        "deep": torch_zip(b"(l" * 10**4 + b".", one),
        "a long number": of(b"\x8b" + struct.pack("<i", 2**31 - 1)),
    }


def _npz(path: Path) -> None:
    np.savez(path, **_tensors())  # pyright: ignore[reportArgumentType]


def _npy(shape: Any, dtype: str = "<f4", body: bytes = b"") -> bytes:
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + body


def _npz_traps() -> dict[str, bytes]:
    """Archives of arrays that state more than they hold, or hold more than they seem to."""

    def of(content: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as to:
            to.writestr("conv1_1.kernel.npy", content)
        return file.getvalue()

    return {
        "a shape beyond memory": of(_npy((2**40,))),
        "a shape below zero": of(_npy((-1, 2))),
        "packed zeros": of(_npy((2**25,), body=bytes(2**27))),
        "objects": of(_npy((1,), "|O", pickle.dumps([1]))),
        "complex": of(_npy((2,), "<c8", bytes(16))),
        "text": of(_npy((2,), "<U2", bytes(16))),
        "a record": of(_npy((2,), [("a", "<f4")], bytes(8))),  # pyright: ignore[reportArgumentType]
        "beyond float32": of(_npy((3, 3, 3, 4), "<f8", np.full(108, 1e300).tobytes())),
        "code in the header": of(
            b"\x93NUMPY\x01\0" + struct.pack("<H", 20) + b"__import__('os')..\n"
        ),
    }


def _npy_edited(rng: Random, data: bytes) -> bytes:
    if rng.random() < 0.5:
        return mutations.damaged(rng, data)
    shape = tuple(rng.choice((0, 1, 3, 4, -1, 2**20, 2**40)) for _ in range(rng.randrange(5)))
    return _npy(shape, rng.choice(("<f4", "<f8", "|O", "<c8", "|S4", "<i8")), data[128:])


def _onnx() -> bytes:
    """A network with two styles, whole and quantised tensors among its weights."""
    rng, tensors, nodes = np.random.default_rng(0), [], []
    sizes = {"contract.0": (4, 3, 9), "contract.1": (4, 4, 3), "contract.2": (4, 4, 3)}
    sizes |= {"expand.0": (4, 4, 3), "expand.1": (4, 4, 3), "expand.2": (3, 4, 9)}
    for name, (outputs, inputs, side) in sizes.items():
        kernel = np.float32(rng.normal(size=(outputs, inputs, side, side)))
        tensors.append(formats.tensor(f"{name}.w", kernel, raw=side == 9))
        for part in ("gamma", "beta"):
            whole = rng.integers(-9, 9, (2, outputs)).astype(np.int8)
            tensors.append(formats.tensor(f"{name}.{part}", whole))
            tensors.append(formats.tensor(f"{name}.{part}.s", np.ones(2, np.float32)))
            inputs_ = [f"{name}.{part}", f"{name}.{part}.s"]
            nodes.append(("DequantizeLinear", inputs_, f"{name}.norm.{part}", 0))
    return formats.onnx(tensors, nodes)


def _t7() -> bytes:
    network = foreign.Johnson(np.random.default_rng(0), blocks=0)
    return formats.T7Writer().write(network.file()).data


@functools.cache
def _sources() -> dict[str, list[bytes]]:
    parts = _torch_parts()
    golden = Path(__file__).parents[1] / "golden"
    return {
        "keras": [
            _written(_keras, ".h5"),
            _written(lambda p: _keras(p, chunks=True, compression=4, shuffle=True), ".h5"),
        ],
        "matconvnet": [
            _written(_matconvnet, ".mat"),
            _written(
                lambda p: (
                    _matconvnet(p.with_name("packed.mat"))
                    or p.write_bytes(p.with_name("packed.mat").read_bytes())
                ),
                ".mat",
            ),
        ],
        "torch zip": [torch_zip(*parts), (golden / "torch_zip.pth").read_bytes()],
        "torch legacy": [_torch_legacy(), (golden / "torch_legacy.pth").read_bytes()],
        "npz": [_written(_npz, ".npz")],
        "onnx": [_onnx()],
        "torch7": [_t7()],
    }


def _maker(name: str) -> Callable[[Random, Path], None]:
    def make(rng: Random, folder: Path) -> None:
        known = _sources()
        data, others = rng.choice(known[name]), [one[0] for one in known.values()]
        if name == "torch zip" and rng.random() < 0.5:
            data = mutations.archive(rng, data, mutations.damaged)
        elif name == "npz" and rng.random() < 0.6:
            data = mutations.archive(rng, data, _npy_edited)
        else:
            data = mutations.damaged(rng, data, others)
        (folder / "source").write_bytes(data)

    return make


def _convert(case: Path, out: Path) -> None:
    """What `nst-jax weights convert` does with a file."""
    source = case / "source"
    if model_convert.holds(source):
        model_convert.convert(source, out / "model.safetensors")
        nst.load(out / "model.safetensors", offline=True)
        return
    path = weights.convert_file(source, out / "net.safetensors", preprocessing="caffe")
    build(weightfile.load(path))


def _trap(rng: Random, folder: Path) -> None:
    (folder / "source").write_bytes(rng.choice(list(traps().values())))


@functools.cache
def traps() -> dict[str, bytes]:
    """Files that were made to do harm; each must be refused."""
    keras = {
        "other files": _written(_keras_pointing_elsewhere, ".h5"),
        "a fill value": _written(_keras_bomb, ".h5"),
    }
    zeros = zlib.compress(struct.pack("<2I", 14, 2**27) + bytes(2**27))
    header = b"MATLAB 5.0".ljust(124) + struct.pack("<H", 256) + b"IM"
    # A cell of 2**40 cells, which are not there.
    cells = struct.pack("<4I", 6, 8, 1, 0) + struct.pack("<2I2i", 5, 8, 2**20, 2**20)
    cells += struct.pack("<2I", 1, 6) + b"layers\0\0"
    matlab = {
        "packed zeros": header + struct.pack("<2I", 15, len(zeros)) + zeros,
        "cells without data": header + struct.pack("<2I", 14, len(cells)) + cells,
    }
    known = {"torch": _torch_traps(), "npz": _npz_traps(), "keras": keras, "matlab": matlab}
    return {f"{kind}: {name}": data for kind, one in known.items() for name, data in one.items()}


def read_trap(case: Path, out: Path) -> None:
    """Convert a file, which must fail, and must leave the reader of other files as it was."""
    try:
        _convert(case, out)
    except InputError:
        state = torchfile.read(Path(__file__).parents[1] / "golden" / "torch_zip.pth")
        assert state["double"].dtype == "f8", "a file changed how the next one is read"
        raise
    raise AssertionError("a trap was read")


KINDS = (
    Kind("weight file", _make_weights, _read_weights, share=12),
    Kind("model file", _make_model, _read_model, share=12),
    *(
        Kind(f"{name} weights", _maker(name), _convert, share=6)
        for name in ("keras", "matconvnet", "torch zip", "torch legacy", "npz", "onnx", "torch7")
    ),
    Kind("trap", _trap, read_trap, share=1),
)
