"""The losses: the terms of the objective, the statistics of style, and the objective itself.

- `term` defines what a term is, and `registry` lists the terms and statistics by name.
- `content`, `style`, `smoothness`, `range` and `temporal` are the terms.
- `statistics` holds the statistics by which styles can be compared.
- `measuring` measures all terms in one pass through the network; `tiling` does so tile by tile.
- `objective` adds the weighted terms up.

The losses follow one of three conventions. N is the number of feature maps, M the number of
positions. F are the features of the picture, P those of the content. G and A are the Gram matrices
of the picture and the style, divided by M (`gram`):

============  =======================  ==============================  ======================
name          content                  style, one layer                total variation
============  =======================  ==============================  ======================
gatys         mean (F - P)^2           1/N^2 mean (G - A)^2            mean d^2
paper         1/2 sum (F - P)^2        1/(4 N^2 M^2) sum (MG - MA)^2   1/2 sum d^2
neural-style  mean (F - P)^2           mean (G/N - A/N)^2              1/2 sum d^2
============  =======================  ==============================  ======================

`gatys` is Gatys' PyTorch code, where the style weights are 1e3/N^2. It has no total variation, so
we use the mean, which does not depend on the resolution. `paper` is Gatys, Ecker & Bethge
2015/2016, eqs. 1 and 4. `neural-style` is jcjohnson's Lua code. d are the differences of
neighbouring pixels, in 0..255.

The weights of one convention can be converted to another. The style loss of `paper` is N^2/4 times
that of `neural-style`, so alpha and beta have another meaning. The content loss of `paper` is
N M / 2 times the mean, so it grows with the size of the picture.

The style losses of the other statistics are squared Wasserstein-2 distances, divided by N. They
compare a Gaussian for each feature map (`moments`), one Gaussian for all maps (`wasserstein`), the
values of each map (`histogram`), or the values along random directions (`sliced`). Like the content
loss, they are of second order in the features; the loss of Gram matrices is of fourth order.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
