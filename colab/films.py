# %% [markdown]
# # nst_jax: films
#
# A film in the style of a picture, without flicker: by optimisation, frame after frame, or in one
# pass by a model. In Colab, choose a GPU under *Runtime > Change runtime type* first.

# %% [markdown]
# The next cell installs the checkout that this notebook lies in, if it lies in one; otherwise the
# package of the index. It is not published there yet: in a checkout `python -m build --wheel` makes
# `dist/nst_jax-*.whl`; upload that file beside this notebook, and it is taken.

# %%
from pathlib import Path

wheels = sorted(Path().glob("nst_jax-*.whl"))
in_checkout = Path("../nst_jax/__init__.py").is_file()
PACKAGE = ".." if in_checkout else str(wheels[-1]) if wheels else "nst-jax"
# %pip install --quiet "{PACKAGE}[video]"

# %%
from pathlib import Path

import jax
import numpy as np
from IPython.display import Image as Shown
from PIL import Image

import nst_jax as nst

print(jax.devices())

# %% [markdown]
# A film to begin with: a slow pan over a sample photograph. For your own film and style picture,
# set UPLOAD, and choose the film first.

# %%
UPLOAD = False  # @param {type: "boolean"}
FRAMES = 12  # @param {type: "slider", min: 2, max: 48, step: 1}
if UPLOAD:
    from google.colab import files

    film, style = list(files.upload())[:2]
else:
    film, style = "pan", nst.samples.style("night")
    photo = np.uint8(np.rint(nst.samples.content("cat") * 255))
    height, width, _ = photo.shape
    Path(film).mkdir(exist_ok=True)
    for n in range(FRAMES):
        part = photo[n : n + height * 3 // 4, 3 * n : 3 * n + width * 3 // 4]
        Image.fromarray(part).save(f"{film}/{n:04}.png")

# %% [markdown]
# By optimisation. The first frame is drawn as a picture is, and shown in `OUT.preview.png` until
# the film is complete; each later frame is drawn from those before it. If the runtime is cut off,
# running the cell again goes on at the next frame.

# %%
SIZE = 384  # @param {type: "slider", min: 128, max: 1024, step: 64}
ITERATIONS = 200  # @param {type: "slider", min: 50, max: 1000, step: 50}

options = {"size": SIZE, "iterations": ITERATIONS, "evaluations": 20}
optimised = nst.video(film, "optimised.gif", style, overwrite=True, **options)
Shown(str(optimised), format="gif")

# %% [markdown]
# By a model that has learned its styles: many frames in a second on a GPU.

# %%
model = nst.load("styles")
print(model.styles)
in_one_pass = nst.video(film, "one-pass.gif", "waves", model=model, size=SIZE, overwrite=True)
Shown(str(in_one_pass), format="gif")
