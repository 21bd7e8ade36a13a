# %% [markdown]
# # nst_jax: a sweep over style weights on all TPU cores
#
# Sixteen pictures at once, one program, spread over every device. In Colab choose a TPU under
# *Runtime > Change runtime type*; the same cells run on a GPU or a CPU.

# %% [markdown]
# The next cell installs the checkout that this notebook lies in, if it lies in one; otherwise the
# package of the index. It is not published there yet: in a checkout `python -m build --wheel` makes
# `dist/nst_jax-*.whl`; upload that file beside this notebook, and it is taken.

# %%
from pathlib import Path

wheels = sorted(Path().glob("nst_jax-*.whl"))
in_checkout = Path("../nst_jax/__init__.py").is_file()
PACKAGE = ".." if in_checkout else str(wheels[-1]) if wheels else "nst-jax"
# %pip install --quiet "{PACKAGE}[tpu]"

# %%
import time

import jax
import numpy as np

import nst_jax as nst

print(f"{jax.device_count()} x {jax.devices()[0].device_kind}")

# %% [markdown]
# The lanes: one for each style weight. They are data of one program, and go round the devices by
# themselves; `devices` and `in_flight` are only for those who want it otherwise.

# %%
LANES = 16  # @param {type: "integer"}
SIZE = 256  # @param {type: "integer"}
ITERATIONS = 300  # @param {type: "integer"}

weights = np.geomspace(1e1, 1e5, LANES)
content, style = nst.samples.content("cat"), nst.samples.style("night")
began = time.perf_counter()
sweep = nst.sweep(content, style, style_weight=weights, size=SIZE, iterations=ITERATIONS)
seconds = time.perf_counter() - began
sweep

# %% [markdown]
# The time of a lane, and what compiling cost once for all of them.

# %%
compiling = sum(result.compile_seconds for result in sweep)
running = sum(result.run_seconds for result in sweep)
print(f"{seconds:.1f} s in all, {compiling:.1f} s of them compiling")
print(f"{running / len(sweep):.2f} s a lane, {len(sweep) / running:.2f} lanes a second")

# %% [markdown]
# What the weight buys: less style loss for more content loss.

# %%
sweep.plot()

# %%
sweep.at(style_weight=weights[LANES // 2])

# %% [markdown]
# All pictures with their settings embedded, the table, the sheet.

# %%
sweep.save("sweep")
