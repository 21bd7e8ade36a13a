"""load_sweep(): read a sweep from its folder."""

import os

from nst_jax.sweeps.folder import Folder, read_plan
from nst_jax.sweeps.result import Sweep


def load_sweep(path: str | os.PathLike) -> Sweep:
    """Read a sweep from the folder that holds it, whether it is finished or not.

    Pictures are read in 8 bits.

    Raises:
        InputError: the folder holds no sweep, or a file of it cannot be read.
    """
    plan = read_plan(path)
    folder = Folder(path, plan)
    return Sweep(
        axes={name: tuple(values) for name, values in plan["axes"].items()},
        how=plan["how"],
        points=tuple(lane["values"] for lane in plan["lanes"]),
        results={i: folder.result(i) for i in range(len(plan["lanes"])) if folder.is_done(i)},
    )
