"""Spool: an array that grows at its end and is then sliced; when it grows large it lies on disk, not in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from tempfile import TemporaryFile
from threading import Lock

import numpy as np

MOST_IN_MEMORY = 2**25  # bytes: nine minutes of samples at 16 kHz, or half as much again of 80 mel bins


class Spool:
    """float32 rows of one shape: (N,) of numbers, or (N, M). What is sliced out of it is an ndarray, a copy.

    Beyond MOST_IN_MEMORY they lie in a temporary file that has no name and is gone with the object, or with the process.
    It is read, not mapped, because mapped pages count as memory. Several threads may slice at once. Pickled, it travels by
    value.
    """

    def __init__(self, *row: int) -> None:
        """row: the shape of one, () for single numbers."""
        self.row = row
        self.row_bytes = 4 * int(np.prod(row))
        self.rows = 0
        self.file = BytesIO()
        self.lock = Lock()

    def append(self, rows: np.ndarray) -> None:
        """rows: (N, *row). Raises OSError when the disk is full."""
        if rows.shape[1:] != self.row:
            raise ValueError(f"Rows of shape {self.row} are spooled here; these have {rows.shape[1:]}.")
        if not rows.size:
            return
        with self.lock:
            size = self.rows * self.row_bytes
            if isinstance(self.file, BytesIO) and size + len(rows) * self.row_bytes > MOST_IN_MEMORY:
                file = TemporaryFile()  # noqa: SIM115 - it lives as long as this object
                file.write(self.file.getbuffer())
                self.file = file
            self.file.seek(size)
            self.file.write(np.ascontiguousarray(rows, np.float32).data.cast("B"))
            self.rows += len(rows)

    def __len__(self) -> int:
        return self.rows

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows, *self.row

    def __getitem__(self, index: slice) -> np.ndarray:
        """(N, *row) float32, for a slice with step 1."""
        start, stop, step = index.indices(self.rows)
        if step != 1:
            raise ValueError(f"A spool is sliced from one row to a later one; not in steps of {step}.")
        rows = np.empty((max(0, stop - start), *self.row), np.float32)
        if rows.size:
            with self.lock:
                self.file.seek(start * self.row_bytes)
                self.file.readinto(rows.data.cast("B"))
        return rows

    @property
    def descriptor(self) -> int | None:
        """Of the file in which all rows are, for another process on this machine; None while they are in memory."""
        if self.rows * self.row_bytes <= MOST_IN_MEMORY:
            return None
        self.file.flush()
        return self.file.fileno()

    @classmethod
    def of_file(cls, descriptor: int, row: tuple[int, ...], rows: int) -> Spool:
        """The spool of another process, which no longer uses it."""
        spool = cls(*row)
        spool.file, spool.rows = os.fdopen(descriptor, "r+b"), rows
        return spool

    def __reduce__(self) -> tuple[Callable, tuple]:
        return _spooled, (self[:],)


def _spooled(rows: np.ndarray) -> Spool:
    spool = Spool(*rows.shape[1:])
    spool.append(rows)
    return spool
