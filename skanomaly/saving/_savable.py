"""The method ``save`` of detectors and encoders."""

from __future__ import annotations

from ._save import save


class SavableMixin:
    """Adds ``save`` to an estimator."""

    def save(self, path):
        """Save to a file that holds data and no code; :func:`skanomaly.load` reads it.

        Parameters
        ----------
        path : str or path-like
            File to write, by convention ``*.skanomaly``.

        Raises
        ------
        TypeError
            If there is an object of a class that is neither of skanomaly nor a common one of
            scikit-learn, such as a torch module of your own or a function.
        OSError
            If the file cannot be written.
        """
        save(self, path)
