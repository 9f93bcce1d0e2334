"""Moments of rows that come in parts: those of two parts merge into those of both."""

from __future__ import annotations

from ._array_api import Array, as_float64, namespace


class Moments:
    """Of some rows what mean, covariance and shrinkage are made of, in one pass.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    unit : float
        The largest entry, in units of which all else is, so that no power overflows.
    mean : float64 array (d,)
        Mean row.
    product : float64 array (d, d)
        Sum of the outer products of the deviations from the mean.
    cubes : float64 array (d,)
        Sum of the deviations times their squared lengths.
    fourth : float
        Sum of the fourth powers of their lengths.
    """

    def __init__(
        self, n_rows: int, unit: float, mean: Array, product: Array, cubes: Array, fourth: float
    ):
        self.n_rows = n_rows
        self.unit = unit
        self.mean = mean
        self.product = product
        self.cubes = cubes
        self.fourth = fourth

    @classmethod
    def of(cls, rows: Array) -> Moments:
        """Of an array (n, d)."""
        xp = namespace(rows)
        unit = float(xp.max(xp.abs(rows))) or 1.0
        rows = as_float64(rows) / unit
        mean = xp.mean(rows, axis=0)
        rows = rows - mean
        squares = xp.sum(rows * rows, axis=1)
        fourth = float(xp.sum(squares * squares))
        return cls(rows.shape[0], unit, mean, rows.T @ rows, squares @ rows, fourth)

    def merge(self, other: Moments) -> Moments:
        """Of the rows of both."""
        unit = max(self.unit, other.unit)
        a, b = self._in_unit(unit), other._in_unit(unit)
        n_rows = a.n_rows + b.n_rows
        mean = a.mean + (b.mean - a.mean) * (b.n_rows / n_rows)
        a, b = a._about(mean), b._about(mean)
        return Moments(
            n_rows, unit, mean, a.product + b.product, a.cubes + b.cubes, a.fourth + b.fourth
        )

    @property
    def column_means(self) -> Array:
        """Mean row in the units of the rows."""
        return self.mean * self.unit

    @property
    def total_variance(self) -> float:
        """Sum of the variances of the columns."""
        return self._total / self.n_rows * self.unit * self.unit

    @property
    def _total(self) -> float:
        return float(namespace(self.product).linalg.trace(self.product))

    def _in_unit(self, unit: float) -> Moments:
        s = self.unit / unit
        return Moments(
            self.n_rows,
            unit,
            self.mean * s,
            self.product * s**2,
            self.cubes * s**3,
            self.fourth * s**4,
        )

    def _about(self, point: Array) -> Moments:
        """With the deviations from another point than the mean."""
        shift = self.mean - point
        squared = float(shift @ shift)
        along = self.product @ shift
        fourth = self.fourth + self.n_rows * squared**2 + 2 * squared * self._total
        return Moments(
            self.n_rows,
            self.unit,
            point,
            self.product + self.n_rows * shift[:, None] * shift[None, :],
            self.cubes + (self._total + self.n_rows * squared) * shift + 2 * along,
            fourth + float(4 * shift @ (along + self.cubes)),
        )


class ColumnMoments:
    """Mean and deviation of each column, which may be of any magnitude.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    units : float64 array (d,)
        The largest entry of each column, in units of which the others are; 1 if that is 0.
    mean : float64 array (d,)
        Mean row.
    squares : float64 array (d,)
        Sums of the squared deviations.
    """

    def __init__(self, n_rows: int, units: Array, mean: Array, squares: Array):
        self.n_rows = n_rows
        self.units = units
        self.mean = mean
        self.squares = squares

    @classmethod
    def of(cls, rows: Array) -> ColumnMoments:
        """Of an array (n, d)."""
        xp = namespace(rows)
        units = as_float64(xp.max(xp.abs(rows), axis=0))
        units = xp.where(units > 0, units, xp.ones_like(units))
        rows = as_float64(rows) / units
        mean = xp.mean(rows, axis=0)
        return cls(rows.shape[0], units, mean, xp.sum((rows - mean) ** 2, axis=0))

    def merge(self, other: ColumnMoments) -> ColumnMoments:
        """Of the rows of both."""
        xp = namespace(self.units)
        units = xp.maximum(self.units, other.units)
        a, b = self.units / units, other.units / units
        n_rows = self.n_rows + other.n_rows
        difference = other.mean * b - self.mean * a
        mean = self.mean * a + difference * (other.n_rows / n_rows)
        between = difference**2 * (self.n_rows * other.n_rows / n_rows)
        return ColumnMoments(
            n_rows, units, mean, self.squares * a**2 + other.squares * b**2 + between
        )

    @property
    def column_means(self) -> Array:
        """Mean row in the units of the rows."""
        return self.mean * self.units

    @property
    def deviations(self) -> Array:
        """Standard deviation of each column; 1 of a constant one, whose mean itself is rounded."""
        xp = namespace(self.units)
        deviations = xp.sqrt(self.squares / self.n_rows)
        return xp.where(deviations > 1e-12, deviations * self.units, xp.ones_like(deviations))

    @property
    def total_variance(self) -> float:
        """Sum of the variances of the columns."""
        return float(namespace(self.units).sum(self.squares * self.units**2)) / self.n_rows
