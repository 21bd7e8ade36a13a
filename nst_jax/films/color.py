"""Colours of films: which matrix made them, and HDR brought to the range of ordinary screens."""

import functools

import numpy as np
from jaxtyping import Float, UInt8, UInt16

# Numbers of ITU-T H.273.
UNKNOWN, RGB = 2, 0
BT2020 = 9  # matrix and primaries
PQ, HLG = 16, 18  # transfer functions
SD = 6  # matrix of BT.601
WHITE = 203.0  # cd/m2 of white paper in HDR (ITU-R BT.2408), which becomes white
PEAK = 1000.0  # cd/m2 of the brightest that is told apart

_TO_709 = np.array(  # linear BT.2020 to BT.709, ITU-R BT.2407
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_GAMMA = 2.4  # of ordinary screens, ITU-R BT.1886


def matrix_of(height: int, width: int) -> int:
    """The matrix that players assume for films without colour tags: BT.709 for HD, else BT.601."""
    return 1 if height > 576 or width >= 1280 else SD


def to_sdr(rgb: UInt16[np.ndarray, "h w 3"], transfer: int) -> UInt8[np.ndarray, "h w 3"]:
    """Map a frame in BT.2020 to BT.709.

    Highlights of PQ and HLG are compressed by the knee of ITU-R BT.2390, from a peak of 1,000
    cd/m2 to paper white at 203 cd/m2, on the brightest of the three channels, so that hues stay.
    Colours outside of BT.709 are clipped.

    Args:
        rgb: the encoded values; 65535 is 1.
        transfer: transfer function as a number of H.273; all but PQ and HLG are taken for BT.1886.
    """
    linear = _linear(transfer)[rgb]
    if transfer == HLG:  # its brightness depends on the scene's: ITU-R BT.2100, gamma 1.2
        linear *= PEAK / WHITE * np.power(linear @ _LUMINANCE, 0.2)[..., None]
    if transfer in (PQ, HLG):
        level = np.sqrt(linear.max(-1) * np.float32(WHITE / 10_000))
        linear *= _knee()[(level * np.float32(65535)).astype(np.uint16)][..., None]
    encoded = np.power(np.clip(linear @ _TO_709.T, 0, 1), 1 / _GAMMA)
    return np.rint(encoded * 255).astype(np.uint8)


def from_pq(encoded: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """SMPTE ST 2084: encoded values in [0, 1] to cd/m2."""
    power = np.power(encoded, 1 / _M2)
    return 10_000 * np.power(np.maximum(power - _C1, 0) / (_C2 - _C3 * power), 1 / _M1)


def to_pq(light: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The inverse of `from_pq`."""
    power = np.power(light / 10_000, _M1)
    return np.power((_C1 + _C2 * power) / (1 + _C3 * power), _M2)


@functools.cache
def _linear(transfer: int) -> Float[np.ndarray, "65536"]:
    """For each encoded value the light, 1 for white; of HLG the scene's light in [0, 1]."""
    encoded = np.linspace(0, 1, 65536)
    if transfer == PQ:
        return (from_pq(encoded) / WHITE).astype(np.float32)
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        high = (np.exp((np.maximum(encoded, 0.5) - c) / a) + b) / 12
        return np.where(encoded <= 0.5, encoded**2 / 3, high).astype(np.float32)
    return (encoded**_GAMMA).astype(np.float32)


@functools.cache
def _knee() -> Float[np.ndarray, "65536"]:
    """Factors for the light, by the root of the brightest channel; the last is 10,000 cd/m2."""
    light = 10_000 * np.linspace(0, 1, 65536) ** 2
    top, white = to_pq(np.array([PEAK, WHITE]))
    signal, most = np.minimum(to_pq(light) / top, 1), white / top
    start = 1.5 * most - 0.5
    t = np.maximum((signal - start) / (1 - start), 0)
    curve = (2 * t**3 - 3 * t**2 + 1) * start + (t**3 - 2 * t**2 + t) * (1 - start)
    curve += (3 * t**2 - 2 * t**3) * most
    mapped = from_pq(np.where(signal < start, signal, curve) * top)
    return np.divide(mapped, light, out=np.ones_like(light), where=light > 0).astype(np.float32)
