"""FILE.npz or FILE.safetensors -> the arrays in it. Nothing is unpickled, and nothing larger than was allowed is read."""

from __future__ import annotations

import errno
import json
import zipfile
from collections.abc import Collection
from pathlib import Path
from struct import unpack

import numpy as np
from safetensors.torch import load as load_tensors
from torch import Tensor

from asr_core.files import readable


class ArraysError(ValueError):
    """A file that is none of plain arrays; the message says what it is instead, or why it cannot be read."""


def read(
    path: Path, wanted: Collection[str], most_bytes: int, advice: str
) -> tuple[dict[str, np.ndarray | Tensor], list[str]]:
    """Those of the arrays that are wanted, and the names of all that the file holds. Raises ArraysError.

    most_bytes: of all arrays together. advice: what to do about a file that has more.
    """
    if path.suffix not in (".npz", ".safetensors"):
        raise ArraysError(f"{path.name} is neither .npz (numpy.savez) nor .safetensors. Save the arrays as one of them.")
    try:
        readable(path, most_bytes)
        if (size := _unpacked_bytes(path)) > most_bytes:
            raise _too_large(path, size, most_bytes, advice)
        return (_of_safetensors if path.suffix == ".safetensors" else _of_npz)(path, wanted)
    except ArraysError:
        raise
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise _too_large(path, path.stat().st_size, most_bytes, advice) from error
        raise ArraysError(f"{path} cannot be read: {error.strerror or 'it is no file'}.") from error
    except Exception as error:  # a damaged file brings anything out of zipfile, numpy and Python's own tokenizer
        raise ArraysError(
            f"{path.name} is damaged, or holds Python objects, which are never unpickled. Save plain arrays."
        ) from error


def metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file, which holds them beside the tensors; none of any other. The file is one
    that `read` has read."""
    if path.suffix != ".safetensors":
        return {}
    with open(path, "rb") as file:
        (length,) = unpack("<Q", file.read(8))
        return json.loads(file.read(length)).get("__metadata__") or {}


def listed(names: Collection[str]) -> str:
    """The names of a file's arrays, for a sentence."""
    shown = ", ".join(name[:60] for name in sorted(names)[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown or "nothing"


def _too_large(path: Path, size: int, most_bytes: int, advice: str) -> ArraysError:
    return ArraysError(f"{path.name} holds {size / 1e6:,.0f} MB; {most_bytes / 1e6:,.0f} MB are the most. {advice}")


def _unpacked_bytes(path: Path) -> int:
    if path.suffix == ".safetensors":
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _of_npz(path: Path, wanted: Collection[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name in wanted}, archive.files


def _of_safetensors(path: Path, wanted: Collection[str]) -> tuple[dict[str, Tensor], list[str]]:
    tensors = load_tensors(path.read_bytes())
    return {name: tensor for name, tensor in tensors.items() if name in wanted}, list(tensors)
