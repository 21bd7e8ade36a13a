"""The cache of compiled programs, which commands keep between runs.

Importing the library does not switch the cache on.
"""

import os
from pathlib import Path

_VARIABLE = "JAX_COMPILATION_CACHE_DIR"


def folder() -> Path:
    """The folder of the cache, which may not exist yet."""
    import platformdirs

    own = Path(platformdirs.user_cache_dir("nst_jax", appauthor=False)) / "xla"
    return Path(os.environ.get(_VARIABLE, own))


def enable() -> None:
    """Keep compiled programs in the user's cache folder, or in `JAX_COMPILATION_CACHE_DIR`.

    Raises:
        InputError: JAX cannot run, because there is no device of the wanted platform.
    """
    import jax

    if _VARIABLE not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(folder()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    from nst_jax.devices import require_backend

    require_backend()
