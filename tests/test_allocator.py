"""Memory that is freed, held or given back."""

import subprocess
import sys

import pytest

# Page faults of the second of two equal large arrays, in its own process: the setting stays.
_FAULTS = """
import resource, sys
import numpy as np
from nst_jax import allocator
if sys.argv[1] == "hold":
    allocator.hold()
np.ones(2**26, np.uint8)
if sys.argv[1] == "release":
    allocator.hold()
    np.ones(2**26, np.uint8)
    allocator.release()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**26, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other allocators")
def test_held_memory_is_there_for_the_next_array():
    found = {
        way: int(subprocess.check_output([sys.executable, "-c", _FAULTS, way], text=True))
        for way in ("usual", "hold", "release")
    }
    assert found["hold"] < 0.01 * found["usual"]
    assert found["release"] > 0.5 * found["usual"]
