"""Gaussian filters of many points in few dimensions, by a permutohedral lattice."""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclasses.dataclass(frozen=True)
class GaussianFilter:
    """A mean over all points, in which near points count most.

    Point i becomes the sum over j of exp(-|p_i - p_j|^2 / 2) v_j, divided by the sum of these weights. All pairs would
    take the square of the number of points. Here the values are spread over the corners of a lattice of simplexes,
    blurred along its axes, and read at the points again, so that time and memory grow with the number of points alone.

    Attributes:
        corners: float32 sparse matrix (points, lattice): how much of each point is on each of its simplex's corners.
        blurs: float32 sparse matrices (lattice, lattice), one per axis.
        total: float32 (points, 1): what the filter gives for values of 1.

    Reference:
        A. Adams, J. Baek, A. Davis: Fast High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010.
    """

    corners: sparse.csr_array
    blurs: tuple[sparse.csr_array, ...]
    total: NDArray[np.float32]

    @classmethod
    def of(cls, points: NDArray[np.float32]) -> "GaussianFilter":
        """Return the filter for some points.

        Args:
            points: float32 (points, dimensions), in units of the Gaussian's standard deviation.
        """
        simplexes, weights = _simplexes(points)
        codes, offsets = _codes(simplexes)
        lattice, places = np.unique(codes, return_inverse=True)
        count, sides = codes.shape
        starts = np.arange(0, count * sides + 1, sides)
        corners = sparse.csr_array((weights.ravel(), places.ravel(), starts), shape=(count, len(lattice)))
        filter = cls(corners, tuple(_blur(lattice, offset) for offset in offsets), np.ones((count, 1), "float32"))
        return dataclasses.replace(filter, total=filter(np.ones((count, 1), "float32")))

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the filtered values.

        Args:
            values: float32 (points, channels).

        Returns:
            float32 of the same shape.
        """
        spread = self.corners.T @ values
        for blur in self.blurs:
            spread = blur @ spread
        return (self.corners @ spread) / self.total


def _simplexes(points: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the corners of the simplex around each point, and their weights.

    Args:
        points: float32 (points, d).

    Returns:
        Corners, int64 (points, d + 1 corners, d coordinates; the last coordinate follows, as all add up to 0), and
        barycentric weights, float32 (points, d + 1).
    """
    count, d = points.shape
    # Onto the plane of d + 1 coordinates that add up to 0, so large that the blur has a standard deviation of 1
    scaled = points * (d + 1) * np.sqrt(2 / 3) / np.sqrt(np.arange(1, d + 1) * np.arange(2, d + 2))
    sums = np.concatenate([np.cumsum(scaled[:, ::-1], 1)[:, ::-1], np.zeros((count, 1))], 1)
    places = sums.copy()
    places[:, 1:] -= np.arange(1, d + 1) * scaled

    # The nearest point whose coordinates are multiples of d + 1, and the order of the distances to it
    nearest = np.rint(places / (d + 1)).astype("int64")
    excess = nearest.sum(1, keepdims=True)
    ranks = np.argsort(np.argsort(nearest * (d + 1) - places, axis=1, kind="stable"), axis=1) + excess
    too_low, too_high = ranks < 0, ranks > d
    nearest += too_low.astype("int64") - too_high
    ranks += (d + 1) * (too_low.astype("int64") - too_high)

    share = places / (d + 1) - nearest
    by_rank = np.take_along_axis(share, np.argsort(ranks, axis=1), axis=1)  # from the largest to the smallest
    weights = np.empty((count, d + 1), "float32")
    weights[:, 0] = 1 + by_rank[:, -1] - by_rank[:, 0]
    weights[:, 1:] = (by_rank[:, :-1] - by_rank[:, 1:])[:, ::-1]
    corner = np.arange(d + 1)[None, :, None]
    moved = corner - (d + 1) * (ranks[:, None, :d] > d - corner)
    return (d + 1) * nearest[:, None, :d] + moved, weights


def _codes(corners: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[int]]:
    """Return a number for each corner, and the steps to neighbors.

    Args:
        corners: int64 (points, corners, d).

    Returns:
        int64 (points, corners), and per axis the difference between the numbers of two neighbors.
    """
    d = corners.shape[-1]
    low = corners.min((0, 1)) - d - 1
    sides = corners.max((0, 1)) - low + d + 2
    factors = np.concatenate([[1], np.cumprod(sides[:-1])]).astype("int64")
    steps = [int(((d + 1) * (np.arange(d) == axis) - 1) @ factors) for axis in range(d + 1)]
    return (corners - low) @ factors, steps


def _blur(lattice: NDArray[np.int64], step: int) -> sparse.csr_array:
    """Return the blur (1/4, 1/2, 1/4) along one axis of the lattice.

    Neighbors that hold no value are left out.

    Args:
        lattice: numbers of the corners, sorted.
        step: from a corner's number to that of its neighbor along the axis.
    """
    found = np.minimum(np.searchsorted(lattice, lattice + step), len(lattice) - 1)
    rows = np.flatnonzero(lattice[found] == lattice + step)
    columns = found[rows]
    half = sparse.csr_array((np.full(len(rows), 0.25, "float32"), (rows, columns)), shape=(len(lattice),) * 2)
    return sparse.csr_array(half + half.T + sparse.diags_array(np.full(len(lattice), 0.5, "float32")))
