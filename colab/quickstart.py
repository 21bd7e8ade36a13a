# %% [markdown]
# # nst_jax: quickstart
#
# Style transfer on whatever this runtime has: CPU, GPU or TPU. In Colab, choose one under
# *Runtime > Change runtime type* first.

# %% [markdown]
# The next cell installs the checkout that this notebook lies in, if it lies in one; otherwise the
# package of the index. It is not published there yet: in a checkout `python -m build --wheel` makes
# `dist/nst_jax-*.whl`; upload that file beside this notebook, and it is taken.

# %%
from pathlib import Path

wheels = sorted(Path().glob("nst_jax-*.whl"))
in_checkout = Path("../nst_jax/__init__.py").is_file()
PACKAGE = ".." if in_checkout else str(wheels[-1]) if wheels else "nst-jax"
# %pip install --quiet "{PACKAGE}"

# %%
import jax

import nst_jax as nst

print(jax.devices())

# %% [markdown]
# Two sample pictures. For your own, set UPLOAD: choose the content first, then the style.

# %%
UPLOAD = False  # @param {type: "boolean"}
if UPLOAD:
    from google.colab import files

    content, style = list(files.upload().values())[:2]
else:
    content, style = nst.samples.content("cat"), nst.samples.style("night")

# %% [markdown]
# The sliders: how large, how long, how much style. Running the cell again with another weight
# compiles nothing.

# %%
SIZE = 512  # @param {type: "slider", min: 128, max: 1024, step: 64}
ITERATIONS = 300  # @param {type: "slider", min: 50, max: 1000, step: 50}
STYLE_EXPONENT = 3.0  # @param {type: "slider", min: 1, max: 6, step: 0.25}

result = nst.stylize(
    content, style, size=SIZE, iterations=ITERATIONS, style_weight=10**STYLE_EXPONENT
)
result

# %%
result.plot()

# %%
result.save("stylized.png")
