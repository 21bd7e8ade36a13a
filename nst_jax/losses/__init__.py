"""The losses: terms of an objective, statistics of a style, the objective that they add up to.

`term` says what a term is, `registry` which there are; `content`, `style`, `smoothness` and `range`
are those; `statistics` holds what a style may be compared by; `measuring` gets it all out of one
pass through the network, `tiling` tile by tile; `objective` adds up.

Three conventions, each written once. With N feature maps, M positions, features F of the picture
and P of the content, Gram matrices G and A over positions (`gram`):

============  =======================  ==============================  ======================
name          content                  style, one layer                total variation
============  =======================  ==============================  ======================
gatys         mean (F - P)^2           1/N^2 mean (G - A)^2            mean d^2
paper         1/2 sum (F - P)^2        1/(4 N^2 M^2) sum (MG - MA)^2   1/2 sum d^2
neural-style  mean (F - P)^2           mean (G/N - A/N)^2              1/2 sum d^2
============  =======================  ==============================  ======================

`gatys` is his PyTorch code, whose style weights are 1e3/N^2; it has no total variation, so the
resolution-independent mean stands there. `paper` is Gatys, Ecker & Bethge 2015/2016, eqs. 1 and 4.
`neural-style` is jcjohnson's Lua code. d are the differences of neighbouring pixels in 0..255.
The weights of one convention turn into another's: paper style = N^2/4 x neural-style's (so alpha
and beta mean something else), paper content = (N M / 2) x the mean (so it grows with the size).

The style losses of the other statistics are squared Wasserstein-2 distances, divided by N: of each
feature map's Gaussian (`moments`), of all maps' Gaussian (`wasserstein`), of each map's values
(`histogram`), of the values along random directions (`sliced`). Like the content loss they are of
second order in the features, where the Gram matrices' is of fourth.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
