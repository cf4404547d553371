"""An array on disk against one in memory."""

import copy
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_core import spool as spool_module
from asr_core.spool import Spool

SIZES = st.lists(st.integers(0, 50), max_size=12)
EDGES = st.integers(-300, 300) | st.none()


def filled(sizes: list[int], row: tuple[int, ...], most_in_memory: int) -> tuple[Spool, np.ndarray]:
    """A spool and the array that it should be."""
    whole = np.random.default_rng(0).standard_normal((sum(sizes), *row)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "MOST_IN_MEMORY", most_in_memory)
        spool = Spool(*row)
        for piece in np.split(whole, np.cumsum(sizes)[:-1]) if sizes else ():
            spool.append(piece)
    return spool, whole


@given(SIZES, st.sampled_from([(), (3,), (2, 2)]), st.sampled_from([1, 400, 10**6]), EDGES, EDGES)
def test_a_slice_is_that_of_the_array(sizes, row, most_in_memory, start, stop):
    spool, whole = filled(sizes, row, most_in_memory)
    assert (len(spool), spool.shape) == (len(whole), whole.shape)
    got = spool[start:stop]
    assert got.dtype == np.float32 and got.flags.writeable
    assert np.array_equal(got, whole[start:stop])


def test_it_may_be_read_and_grow_in_turn():
    spool = filled([10], (), 1)[0]
    before = spool[:]
    spool.append(np.ones(5, np.float32))
    assert np.array_equal(spool[:], [*before, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("most_in_memory", [1, 10**6])
def test_copies_have_what_it_has_wherever_it_lies(most_in_memory):
    spool, whole = filled([20, 30], (4,), most_in_memory)
    for again in (pickle.loads(pickle.dumps(spool)), copy.deepcopy(spool)):
        assert again.shape == whole.shape and np.array_equal(again[:], whole)


def test_threads_that_read_at_once_get_each_their_own():
    spool, whole = filled([1_000] * 10, (), 1)
    starts = np.random.default_rng(1).integers(0, 9_000, 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda start: spool[start : start + 700], starts))
    assert all(np.array_equal(got, whole[start : start + 700]) for start, got in zip(starts, read, strict=True))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc to find open files in")
def test_its_file_has_no_name_and_is_closed_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def on_disk() -> int:
        return sum(str(tmp_path) in _target(number) for number in os.listdir("/proc/self/fd"))

    spool = filled([100], (), 1)[0]
    assert on_disk() == 1 and list(tmp_path.iterdir()) == []
    del spool
    assert on_disk() == 0


def _target(number: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:  # that of the listing itself
        return ""


def test_rows_of_another_shape_and_steps_are_refused():
    spool = Spool(3)
    with pytest.raises(ValueError, match="Rows of shape"):
        spool.append(np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="steps"):
        spool[::2]
