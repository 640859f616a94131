"""DimeNet's functions of a distance and an angle: spherical Bessel functions times Legendre polynomials.

PyTorch Geometric has them too, from formulas that SymPy simplifies for many seconds whenever a network is made.  These
divide by powers of the distance and take the angle from an arc tangent: in float32 they are off at short distances, and
second derivatives are not finite where three atoms lie in a row.  Here both factors are polynomials, right to round-off
everywhere: Legendre's of the cosine, and Chebyshev's of the distance, which interpolate the Bessel functions.

Source: Gasteiger, Gross and Guennemann, arXiv:2003.03123 (2020), eqs. 6 and 7.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import spherical_jn

FloatArray = NDArray[np.float64]
_NOTHING = 2e-14
"""Coefficients below it are round-off: the largest are 2 to 4."""


class SphericalBasis(torch.nn.Module):
    """j_l(z_ln x) sqrt(2 / j_{l+1}(z_ln)^2) sqrt((2 l + 1) / 4 pi) P_l(cos a), without parameters.

    Parameters
    ----------
    zeros : (L, n) array
        z_ln, the n-th zero of the spherical Bessel function of order l, from 0.
    """

    coefficients: torch.Tensor

    def __init__(self, zeros: FloatArray) -> None:
        super().__init__()
        values = torch.tensor(_interpolated(zeros), dtype=torch.get_default_dtype())
        self.register_buffer("coefficients", values, persistent=False)
        self.shape = zeros.shape

    def forward(
        self, fraction: torch.Tensor, weight: torch.Tensor, cosine: torch.Tensor, edge: torch.Tensor
    ) -> torch.Tensor:
        """Values at T pairs of edges.

        Parameters
        ----------
        fraction, weight : (E,) tensors
            Of every edge: x, its length by the cutoff, from 0 to 1, and a factor that ends there.
        cosine : (T,) tensor
            Of the angle between two edges.
        edge : (T,) long tensor
            The one of the two whose length it is.

        Returns
        -------
        (T, L n) tensor
            Orders l outermost.
        """
        radial = weight[:, None] * (chebyshev_polynomials(fraction, len(self.coefficients)) @ self.coefficients)
        angular = legendre_polynomials(cosine, self.shape[0])
        values = radial.index_select(0, edge).reshape(-1, *self.shape) * angular[:, :, None]
        return values.flatten(1)


def chebyshev_polynomials(x: torch.Tensor, count: int) -> torch.Tensor:
    """T_0 to T_{count - 1}, (E, count), of x, (E,), twice as many at a time: T_{m+k} = 2 T_m T_k - T_{m-k}."""
    rows = torch.stack([torch.ones_like(x), x], dim=1)
    while rows.shape[1] < count:
        rows = torch.cat([rows, 2 * rows[:, -1:] * rows[:, 1:] - rows.flip(1)[:, 1:]], dim=1)
    return rows[:, :count]


def legendre_polynomials(x: torch.Tensor, count: int) -> torch.Tensor:
    """sqrt((2 l + 1) / 4 pi) P_l, (T, count), of x, (T,), for l from 0: spherical harmonics on a meridian."""
    rows = [torch.ones_like(x), x]
    for order in range(1, count - 1):
        rows.append(((2 * order + 1) * x * rows[order] - order * rows[order - 1]) / (order + 1))
    norms = [math.sqrt((2 * order + 1) / (4 * math.pi)) for order in range(count)]
    return torch.stack(rows[:count], dim=1) * x.new_tensor(norms)


def _interpolated(zeros: FloatArray) -> FloatArray:
    """Chebyshev coefficients, (degree + 1, L n), of the normalised Bessel functions of x from -1 to 1."""
    x = chebyshev.chebpts1(51 + int(1.5 * zeros.max()))
    order, place = np.arange(len(zeros))[:, None], np.abs(x)[:, None, None]
    # of the parity of its order, which makes it smooth through zero
    values = np.sign(x)[:, None, None] ** order * spherical_jn(order, zeros * place)
    values *= math.sqrt(2.0) / np.abs(spherical_jn(order + 1, zeros))
    found = chebyshev.chebvander(x, len(x) - 1).T @ values.reshape(len(x), -1) * (2.0 / len(x))
    found[0] /= 2.0
    last = np.nonzero(np.abs(found).max(axis=1) > _NOTHING)[0][-1]
    kept: FloatArray = found[: last + 1]
    return kept
