"""What the tests of bad input share."""

import os
import tempfile
from pathlib import Path

import pytest

from nst_jax.errors import InputError


def sentence(function, *args, **options) -> str:
    """The one sentence with which a call is refused."""
    with pytest.raises(InputError) as caught:
        function(*args, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert text.startswith(("The ", "size "))
    assert not any(word in text for word in ("Traceback", "Errno", "object at 0x", "PIL."))
    return text


@pytest.fixture
def plain_user_folder():
    """A folder that belongs to a user without privileges, whom this process becomes."""
    with tempfile.TemporaryDirectory() as folder:
        root = os.geteuid() == 0
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        yield Path(folder)
        Path(folder).chmod(0o700)
        if root:
            os.seteuid(0)
