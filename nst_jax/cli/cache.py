"""The compilation cache that commands keep between runs; importing the library sets none."""

import os
from pathlib import Path


def enable() -> None:
    """Keep compiled programs in a folder of the user's, or where JAX's own variable says."""
    import jax
    import platformdirs

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = Path(platformdirs.user_cache_dir("nst_jax", appauthor=False)) / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
