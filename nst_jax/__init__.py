"""Neural style transfer in JAX.

    import nst_jax as nst
    result = nst.stylize("content.jpg", "style.jpg")
    result.save("out.png")

Pictures are RGB float32 in [0, 1], shape (h, w, 3). Names are loaded on first use, so that the
command line answers before JAX is there.
"""

import lazy_loader

from nst_jax._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
