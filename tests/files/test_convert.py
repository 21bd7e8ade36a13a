"""The same network from Keras, PyTorch, MatConvNet and npz files gives the same tensors."""

import os
import pickle
import re
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from nst_jax.errors import InputError
from nst_jax.files import convert, matfile, torchfile, weightfile
from nst_jax.files.weightfile import CAFFE, TORCHVISION, Preprocessing

GOLDEN = Path(__file__).parents[1] / "golden"
MEAN = (120.0, 110.0, 100.0)


def make_network(architecture: str, thin: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    tensors, depth = {}, 3
    for layer in weightfile.layer_names(architecture):
        width = weightfile.WIDTHS[int(layer[4]) - 1] // thin
        tensors[f"{layer}.kernel"] = rng.normal(size=(3, 3, depth, width)).astype(np.float32)
        tensors[f"{layer}.bias"] = rng.normal(size=width).astype(np.float32)
        depth = width
    return tensors


def layers(tensors) -> list[tuple[str, np.ndarray, np.ndarray]]:
    names = [name.removesuffix(".kernel") for name in tensors if name.endswith("kernel")]
    return [(name, tensors[f"{name}.kernel"], tensors[f"{name}.bias"]) for name in names]


def write_keras(path, tensors):
    """As the public file: names in attributes, a group per layer, pools without weights."""
    with h5py.File(path, "w") as file:
        for name, kernel, bias in layers(tensors):
            layer = f"block{name[4]}_conv{name[6]}"
            group = file.create_group(layer)
            names = [f"{layer}_W_1:0", f"{layer}_b_1:0"]
            group.attrs["weight_names"] = [n.encode() for n in names]
            group[names[0]], group[names[1]] = kernel, bias
        file.create_group("block1_pool").attrs["weight_names"] = np.array([], "S1")
        file.create_group("fc1").create_dataset("fc1_W_1:0", data=np.ones((4, 4)))


def write_keras_model(path, tensors):
    """As Keras 2 writes a whole model, with its optimiser's slots."""
    with h5py.File(path, "w") as file:
        for name, kernel, bias in layers(tensors):
            layer = f"block{name[4]}_conv{name[6]}"
            file[f"model_weights/{layer}/{layer}/kernel:0"] = kernel
            file[f"model_weights/{layer}/{layer}/bias:0"] = bias
            file[f"optimizer_weights/{layer}/kernel/m:0"] = kernel + 1


def write_matconvnet(path, tensors, old=False):
    cells = []
    for name, kernel, bias in layers(tensors):
        weights = np.empty((1, 2), object)
        weights[0, 0], weights[0, 1] = kernel, bias.reshape(1, -1)
        cells.append({"name": name, "type": "conv", "weights": weights, "pad": np.ones((1, 4))})
        cells.append({"name": name.replace("conv", "relu"), "type": "relu"})
    fc = np.empty((1, 2), object)
    fc[0, 0], fc[0, 1] = np.ones((7, 7, 4, 4), np.float32), np.ones((1, 4), np.float32)
    cells.append({"name": "fc6", "type": "conv", "weights": fc})
    image = np.broadcast_to(np.float32(MEAN), (5, 6, 3)) if old else np.reshape(MEAN, (1, 1, 3))
    normalization = {"imageSize": np.array([[224.0, 224.0, 3.0]]), "averageImage": image}
    about = {"normalization": normalization} if old else {"meta": {"normalization": normalization}}
    scipy.io.savemat(path, {"layers": np.array(cells).reshape(1, -1), **about}, oned_as="row")


@pytest.mark.parametrize("packed", [False, True])
def test_matlab_files_are_read_as_scipy_reads_them(tmp_path, packed):
    cell = np.empty((2, 3), object)
    for i, place in enumerate(np.ndindex(2, 3)):
        cell[place] = np.full((1, i + 1), i, np.int16)
    several = np.array([[(1.0,), (2.0,)]], [("a", object)])
    numbers = {
        "f": np.arange(24.0).reshape(2, 3, 4),
        "i": np.int8([[1, -2]]),
        "e": np.zeros((0, 2)),
    }
    path = tmp_path / "x.mat"
    values = {"cell": cell, "text": "abc", "deep": {"x": numbers}, "list": several, **numbers}
    scipy.io.savemat(path, values, do_compression=packed)
    found = matfile.read(path, [*values])
    theirs = scipy.io.loadmat(path)
    for name in numbers:
        np.testing.assert_array_equal(found[name], theirs[name])
        np.testing.assert_array_equal(found["deep"]["x"][name], theirs[name])
    for one, other in zip(found["cell"], theirs["cell"].ravel(order="F"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert found["text"] == theirs["text"][0]
    assert [one["a"].item() for one in found["list"]] == [1.0, 2.0]
    assert list(matfile.read(path, ["f"])) == ["f"]


def write_npz(path, tensors):
    np.savez(path, **tensors)


def write_npz_slashes(path, tensors):
    np.savez_compressed(path, **{k.replace(".", "/"): v for k, v in tensors.items()})


def state_dict(torch, tensors, gatys):
    state, index, block = {}, 0, "1"
    for name, kernel, bias in layers(tensors):
        index += name[4] != block
        block = name[4]
        prefix = name if gatys else f"features.{index}"
        state[f"{prefix}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        state[f"{prefix}.bias"] = torch.from_numpy(bias)
        index += 2
    return state | {"classifier.0.weight": torch.ones(4, 4)}


def torch_writer(gatys, is_zip):
    def write(path, tensors):
        torch = pytest.importorskip("torch", reason="writes the .pth that is read here")
        state = state_dict(torch, tensors, gatys)
        torch.save(state, path, _use_new_zipfile_serialization=is_zip)

    return write


WRITERS = {
    "keras": (".h5", write_keras, CAFFE),
    "keras-model": (".h5", write_keras_model, CAFFE),
    "torchvision-zip": (".pth", torch_writer(False, True), None),
    "torchvision-legacy": (".pth", torch_writer(False, False), None),
    "gatys-zip": (".pth", torch_writer(True, True), CAFFE),
    "gatys-legacy": (".pth", torch_writer(True, False), CAFFE),
    "matconvnet": (".mat", write_matconvnet, Preprocessing("RGB", 255.0, MEAN)),
    "matconvnet-old": (
        ".mat",
        lambda path, tensors: write_matconvnet(path, tensors, old=True),
        Preprocessing("RGB", 255.0, MEAN),
    ),
    "npz": (".npz", write_npz, CAFFE),
    "npz-slashes": (".npz", write_npz_slashes, CAFFE),
}


@pytest.mark.parametrize("architecture", ["vgg19", "vgg16"])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_file_gives_the_same_tensors(tmp_path, kind, architecture):
    suffix, write, preprocessing = WRITERS[kind]
    expected = make_network(architecture)
    path = tmp_path / f"weights{suffix}"
    write(path, expected)
    source = convert.read(path)
    assert source.tensors.keys() == expected.keys()
    for name, x in source.tensors.items():
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x, expected[name], strict=True)
    assert source.preprocessing == preprocessing


@pytest.fixture(scope="session")
def full(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A VGG19 of full size with random weights, as a Keras file."""
    path = tmp_path_factory.mktemp("full") / "random.h5"
    tensors = make_network("vgg19", thin=1)
    write_keras(path, tensors)
    return path, tensors


def test_converted_file_holds_the_tensors_and_their_provenance(tmp_path, full):
    path, tensors = full
    target = convert.convert(path, tmp_path / "deep" / "vgg19.safetensors")
    file = weightfile.load(target)
    assert file.architecture == "vgg19"
    assert file.preprocessing == CAFFE
    assert file.tensors.keys() == tensors.keys()
    for name, x in tensors.items():
        np.testing.assert_array_equal(file.tensors[name], x, strict=True)
    assert file.metadata["source"] == "random.h5"
    assert file.metadata["source_digest"] == convert.file_digest(path)
    assert file.metadata["licence"] == "CC-BY-4.0"
    assert file.metadata["layout"] == "HWIO"
    assert file.digest == file.metadata["digest"] == weightfile.digest(tensors)
    assert [p.name for p in target.parent.iterdir()] == ["vgg19.safetensors"]


def test_transposing_swaps_the_spatial_axes(tmp_path, full):
    path, tensors = full
    file = weightfile.load(convert.convert(path, tmp_path / "w.safetensors", transpose=True))
    for name, x in tensors.items():
        np.testing.assert_array_equal(file.tensors[name], x.swapaxes(0, 1) if x.ndim == 4 else x)
    assert file.metadata["transposed"] == "true"


def test_missing_and_misshapen_layers_are_told_together(tmp_path, full):
    _, tensors = full
    broken = dict(tensors)
    del broken["conv3_4.bias"]
    broken["conv1_1.kernel"] = tensors["conv1_1.kernel"][:, :, :2]
    broken["conv1_2.kernel"] = tensors["conv1_2.kernel"] * np.nan
    write_npz(tmp_path / "w.npz", broken)
    with pytest.raises(InputError) as error:
        convert.convert(tmp_path / "w.npz", tmp_path / "w.safetensors")
    message = str(error.value)
    assert "conv3_4.bias is missing" in message
    assert "conv1_1.kernel is (3, 3, 2, 64), expected (3, 3, 3, 64)" in message
    assert "conv1_2.kernel holds NaN" in message
    assert not (tmp_path / "w.safetensors").exists()


def test_architecture_can_be_told_and_is_checked(tmp_path, full):
    path, _ = full
    with pytest.raises(InputError, match="give vgg19 or vgg16"):
        convert.convert(path, tmp_path / "w.safetensors", architecture="vgg11")
    file = weightfile.load(convert.convert(path, tmp_path / "w.safetensors", architecture="vgg16"))
    assert set(file.tensors) == set(weightfile.expected_shapes("vgg16"))


def test_names_of_torchvision_do_not_tell_the_preprocessing(tmp_path):
    torch = pytest.importorskip("torch", reason="writes the .pth that is read here")
    path = tmp_path / "resaved.pth"
    torch.save(state_dict(torch, make_network("vgg16", thin=1), gatys=False), path)
    target = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="Say which"):
        convert.convert(path, target)
    with pytest.raises(InputError, match="Unknown preprocessing 'oxford'"):
        convert.convert(path, target, preprocessing="oxford")
    for given, expected in (("caffe", CAFFE), ("torchvision", TORCHVISION)):
        convert.convert(path, target, preprocessing=given)
        assert weightfile.load(target).preprocessing == expected
    own = Preprocessing("RGB", 2.0, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    convert.convert(path, target, preprocessing=own)
    assert weightfile.load(target).preprocessing == own


def test_known_files_are_told_by_their_digest(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="writes the .pth that is read here")
    path = tmp_path / "vgg16.pth"
    torch.save(state_dict(torch, make_network("vgg16", thin=1), gatys=False), path)
    for start, expected in (("d01eb7cb", CAFFE), ("397923af", TORCHVISION)):
        monkeypatch.setattr(convert, "file_digest", lambda _, start=start: f"sha256:{start}ff")
        file = weightfile.load(convert.convert(path, tmp_path / "w.safetensors"))
        assert file.preprocessing == expected


def test_a_network_with_batch_normalisation_is_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="writes the .pth that is read here")
    state = {"features.0.weight": torch.ones(4, 3, 3, 3), "features.1.weight": torch.ones(4)}
    torch.save(state, tmp_path / "bn.pth")
    with pytest.raises(InputError, match="batch normalisation"):
        convert.read(tmp_path / "bn.pth")


def symmetric_kernels(rng, axis):
    x = rng.normal(size=(3, 3, 32, 32))
    return {"conv1_1.kernel": (x + np.flip(x, axis) + 5).astype(np.float32)}


def test_orientation_is_told_by_symmetry(tmp_path, rng, full, capsys):
    assert convert.orientation(symmetric_kernels(rng, 1)) == "upright"
    assert convert.orientation(symmetric_kernels(rng, 0)) == "sideways"
    assert convert.orientation(full[1]) == "unclear"
    sideways = {k: x + np.flip(x, 0) if x.ndim == 4 else x for k, x in full[1].items()}
    write_npz(tmp_path / "w.npz", sideways)
    convert.convert(tmp_path / "w.npz", tmp_path / "w.safetensors")
    assert "turned on its side" in capsys.readouterr().err
    convert.convert(tmp_path / "w.npz", tmp_path / "w.safetensors", transpose=True)
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------------- files of PyTorch


def golden_state() -> dict[str, np.ndarray]:
    shared = np.arange(24, dtype=np.float32)
    return {
        "plain": np.arange(6, dtype=np.float32).reshape(2, 3),
        "parameter": np.arange(4, dtype=np.float32) / 2,
        "half": np.arange(5, dtype=np.float16) / np.float16(8),
        "double": np.arange(5, dtype=np.float64) / 3,
        "bfloat16": np.arange(5, dtype=np.float32) / 4,
        "transposed": shared.reshape(2, 3, 4).transpose(2, 0, 1),
        "tail": shared[20:],
        "strided": shared[1::5],
        "batches": np.array(7),
        "empty": np.zeros((0, 3), np.float32),
    }


@pytest.mark.parametrize("name", ["torch_zip", "torch_legacy"])
def test_torch_files_are_read_without_torch(name):
    state, expected = torchfile.read(GOLDEN / f"{name}.pth"), golden_state()
    assert state.keys() == expected.keys()
    for key, x in expected.items():
        np.testing.assert_array_equal(state[key], x, strict=True)


@pytest.mark.parametrize("name", ["torch_zip", "torch_legacy"])
def test_only_what_is_wanted_is_read(name):
    state = torchfile.read(GOLDEN / f"{name}.pth", lambda key: key == "tail")
    assert list(state) == ["tail"]


@pytest.mark.parametrize("name", ["torch_zip", "torch_legacy"])
def test_truncated_torch_files_are_refused(tmp_path, name):
    whole = (GOLDEN / f"{name}.pth").read_bytes()
    for length in np.linspace(0, len(whole) - 1, 60).astype(int):
        path = tmp_path / "cut.pth"
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.pth"):
            torchfile.read(path)


class Evil:
    """A pickle that would run something when it is loaded."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


def legacy_file(path, *payloads):
    with path.open("wb") as file:
        info = {"protocol_version": 1001, "little_endian": True}
        for part in (torchfile.LEGACY_MAGIC, 1001, info, *payloads):
            pickle.dump(part, file, protocol=2)


def zip_file(path, payload):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(payload, protocol=2))
        archive.writestr("archive/version", "3")


@pytest.mark.parametrize("write", [legacy_file, zip_file])
@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path, write, nested):
    victim, path = tmp_path / "victim", tmp_path / "evil.pth"
    for evil in (
        Evil(os.system, f"touch {victim}"),
        Evil(os.mkdir, str(victim)),
        Evil(eval, f"open({str(victim)!r}, 'w')"),
        Evil(getattr, "x", "upper"),
    ):
        write(path, {"conv1_1.weight": evil} if nested else evil)
        with pytest.raises(InputError, match="refused"):
            torchfile.read(path)
        with pytest.raises(InputError, match="refused"):
            convert.read(path)
        assert not victim.exists()


def test_evil_header_of_a_legacy_file_is_refused(tmp_path):
    path, victim = tmp_path / "evil.pth", tmp_path / "victim"
    with path.open("wb") as file:
        pickle.dump(torchfile.LEGACY_MAGIC, file, protocol=2)
        pickle.dump(Evil(os.mkdir, str(victim)), file, protocol=2)
    with pytest.raises(InputError, match="refused"):
        torchfile.read(path)
    assert not victim.exists()


class Persistent(pickle.Pickler):
    """Writes what `torch.save` writes for a tensor, without torch and with any numbers."""

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Pid) else None


class Pid:
    def __init__(self, *pid):
        self.pid = pid


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (5,), (1,)), (3, (2,), (1,)), (0, (2, 2), (3, 1)), (-1, (1,), (1,)), (0, (2,), (-1,))],
)
def test_tensors_never_reach_outside_their_storage(tmp_path, offset, shape, strides):
    path = tmp_path / "outside.pth"
    state = golden_like_pickle(offset, shape, strides)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", state)
        archive.writestr("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))
    with pytest.raises(InputError, match=r"outside\.pth"):
        torchfile.read(path)


def golden_like_pickle(offset, shape, strides) -> bytes:
    """The opcodes of {"x": _rebuild_tensor_v2(storage, offset, shape, strides)}."""

    def value(x):
        return pickle.dumps(x, protocol=0)[:-1]

    storage = b"(" + value("storage") + b"ctorch\nFloatStorage\n" + value("0") + value("cpu")
    args = b"(" + storage + value(4) + b"tQ" + value(offset) + value(shape) + value(strides) + b"t"
    return b"(" + value("x") + b"ctorch._utils\n_rebuild_tensor_v2\n" + args + b"Rd."


def test_a_tensor_inside_its_storage_is_read(tmp_path):
    path = tmp_path / "inside.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", golden_like_pickle(1, (2,), (2,)))
        archive.writestr("archive/data/0", struct.pack("<4f", 1, 2, 3, 4))
    np.testing.assert_array_equal(torchfile.read(path)["x"], np.float32([2, 4]))


# ----------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x08\0\0\0\0\0\0\0{}      ", "safetensors"),
        (b"\x89PNG\r\n", "of another kind"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "truncated or damaged"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"\x0e\0\0\0\xff", "truncated or damaged"),
        (b"PK\x03\x04 cut", "of another kind"),
    ],
)
def test_other_files_are_told_apart(tmp_path, content, message):
    path = tmp_path / "given.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        convert.read(path)
    assert str(path) in str(error.value)


def test_missing_file_and_file_without_layers(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        convert.read(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones(3)
    with pytest.raises(InputError, match="no convolution"):
        convert.read(tmp_path / "other.h5")
    np.savez(tmp_path / "evil.npz", **{"conv1_1.kernel": np.array([{}], object)})
    with pytest.raises(InputError, match="damaged"):
        convert.read(tmp_path / "evil.npz")
