"""From a name, a path or `auto` to a network."""

import shutil

import numpy as np
import pytest
import tiny

from nst_jax import VGG, InputError, Options, load_network
from nst_jax.files import weightfile, weights
from nst_jax.networks import load


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The only folder with weights, with a narrow VGG19 taken for the real one's shape."""
    monkeypatch.setattr(weights, "search_path", lambda: [tmp_path])
    monkeypatch.setattr(weightfile, "WIDTHS", (4, 4, 6, 6, 6))
    monkeypatch.delenv("NST_JAX_OFFLINE", raising=False)
    load._load.cache_clear()
    yield tmp_path
    load._load.cache_clear()


def write(path, architecture="vgg19", tensors=None):
    weightfile.save(
        path,
        tiny.tensors() if tensors is None else tensors,
        architecture=architecture,
        preprocessing=weightfile.CAFFE,
        source="test",
        source_digest="sha256:0",
        licence="none",
    )
    return path


def test_a_name_and_a_path_give_the_same_network(folder):
    path = write(folder / "vgg19.safetensors")
    by_name, by_path = load_network("vgg19"), load_network(path)
    assert isinstance(by_name, VGG)
    assert (by_name.name, by_name.digest) == ("vgg19", weightfile.load(path).digest)
    assert by_name.options == Options()
    assert by_path is load_network(str(path)) is by_name, "read once"
    average = load_network("vgg19", Options(pooling="average"))
    assert isinstance(average, VGG)
    assert average.options.pooling == "average"
    image = tiny.picture() / np.float32(255)
    ours = by_name(image, ("relu2_1",))["relu2_1"]
    np.testing.assert_array_equal(ours, tiny.network()(image, ("relu2_1",))["relu2_1"])


def test_a_file_that_changes_is_read_again(folder):
    path = write(folder / "vgg19.safetensors")
    before = load_network(path).digest
    write(path, tensors=tiny.tensors(seed=5))
    assert load_network(path).digest != before


def test_auto_takes_vgg19_where_it_is(folder, monkeypatch):
    write(folder / "vgg19.safetensors")
    monkeypatch.setattr(weights, "fetch", lambda *_, **__: pytest.fail("nothing to fetch"))
    assert load_network().name == "vgg19"


def test_auto_fetches_vgg19(folder, monkeypatch):
    def fetch(name, *, offline, progress):
        assert (name, offline, progress) == ("vgg19", None, False)
        return write(folder / "vgg19.safetensors")

    monkeypatch.setattr(weights, "fetch", fetch)
    assert load_network("auto", progress=False).name == "vgg19"


@pytest.mark.parametrize("how", ["option", "environment", "unreachable"])
def test_auto_falls_back_to_the_embedded_network_in_one_line(folder, monkeypatch, how):
    embedded = write(folder / "embedded.safetensors")
    locate = weights.locate
    monkeypatch.setattr(
        weights, "locate", lambda name: embedded if name == "vgg19-lite" else locate(name)
    )
    if how == "environment":
        monkeypatch.setenv("NST_JAX_OFFLINE", "1")
    if how == "unreachable":

        def fetch(*_, **__):
            raise InputError("The server cannot be reached.")

        monkeypatch.setattr(weights, "fetch", fetch)
    with pytest.warns(UserWarning, match=r"embedded network vgg19-lite.*weights fetch vgg19") as w:
        network = load_network("auto", offline=True if how == "option" else None)
    assert network.name == "embedded"
    assert "\n" not in str(w[0].message)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vgg91", r"no weights called 'vgg91'. Did you mean 'vgg19'\?"),
        ("nowhere.safetensors", r"no weight file nowhere.safetensors"),
        ("vgg19", r"not on this machine, and fetching is switched off.*weights convert"),
    ],
)
def test_what_is_not_there_gets_a_sentence(folder, name, said):
    with pytest.raises(InputError, match=said):
        load_network(name, offline=True)


def test_a_file_that_does_not_fit_its_architecture_lists_everything(folder):
    wrong = tiny.tensors()
    del wrong["conv3_4.bias"]
    wrong["conv1_1.kernel"] = wrong["conv1_1.kernel"][:, :, :2]
    path = write(folder / "wrong.safetensors", tensors=wrong)
    with pytest.raises(InputError, match=r"conv1_1.kernel is \(3, 3, 2, 4\).*conv3_4.bias is miss"):
        load_network(path)


def test_an_unknown_architecture_is_named(folder):
    path = write(folder / "other.safetensors", architecture="resnet50")
    with pytest.raises(InputError, match=r"'resnet50'; this nst_jax knows vgg19, vgg16, vgg19-l"):
        load_network(path)


def test_damage_is_found(folder):
    path = write(folder / "vgg19.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="altered or damaged"):
        load_network("vgg19")
    shutil.copy(__file__, folder / "text.safetensors")
    with pytest.raises(InputError, match="cannot be read as a weight file"):
        load_network(folder / "text.safetensors")
