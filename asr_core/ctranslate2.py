"""CTranslate2's model.bin, which faster-whisper folders hold: an index of its variables, and the weights of some of them.

The file is what ModelSpec._serialize of CTranslate2's python/ctranslate2/specs/model_spec.py writes, little-endian: uint32
version; the name of the model's kind; uint32 revision of its layout; uint32 number of variables, and of each: name, uint8
rank, a uint32 for each dimension, uint8 type, uint32 number of bytes, and the bytes; uint32 number of aliases, and of each:
the alias, and the name of what it stands for. A name is uint16 number of bytes, and the bytes, of which the last is zero. No
length is believed before it is compared with what is left of the file.
"""

from __future__ import annotations

import math
import os
import reprlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from asr_core.files import readable

MODEL = "model.bin"
VERSION = 6  # of every file since before CTranslate2 knew Whisper
TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)  # by their numbers in the file
SCALE = "_scale"  # ends the name of a variable with the scales of another
LARGEST = 8 * 10**9  # bytes: the largest Whisper in float32 has 6.2 * 10**9
MOST_VARIABLES = 10_000  # the largest Whisper has some 1,300
LONGEST_NAME = 200  # bytes
HIGHEST_RANK = 4


class CTranslate2Error(ValueError):
    """A file that is no model.bin or cannot be used; the message says why."""


@dataclass(frozen=True)
class Variable:
    """start: where in the file its numbers begin, bytes."""

    shape: tuple[int, ...]
    type: torch.dtype
    start: int

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.type.itemsize


@dataclass(frozen=True)
class ModelFile:
    """kind: such as "WhisperSpec". variables: by their names and aliases; each lies wholly in the file."""

    path: Path
    kind: str
    revision: int
    variables: dict[str, Variable]

    def numbers(self, name: str) -> Tensor:
        """A variable as it is stored. Raises CTranslate2Error when the file has become shorter meanwhile."""
        variable = self.variables[name]
        try:
            data = np.fromfile(self.path, np.uint8, variable.size, offset=variable.start)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if len(data) != variable.size:
            raise CTranslate2Error(f"{_shown(self.path)} became shorter while it was read. Copy it again.")
        return torch.from_numpy(data).view(variable.type).reshape(variable.shape)

    def weights(self, name: str) -> Tensor:
        """A variable in float32: whole numbers are divided by their scales, of which 8 bits have one a row and 16 bits have
        one in all. Raises CTranslate2Error for other whole numbers."""
        variable = self.variables[name]
        if variable.type.is_floating_point:
            return self.numbers(name).float()
        scale = self.variables.get(name + SCALE)
        count = {torch.int8: math.prod(variable.shape[:1]), torch.int16: 1}.get(variable.type)
        if not scale or not scale.type.is_floating_point or math.prod(scale.shape) != count:
            raise CTranslate2Error(
                f"{_shown(self.path)}: {name!r} is {str(variable.type)[6:]} and has no scales that fit it. What is read: "
                "float32, float16, bfloat16, and int8 and int16 with the scales that CTranslate2's own converters write."
            )
        factors = self.numbers(name + SCALE).float().view(-1, *[1] * (len(variable.shape) - 1))  # (R, 1, ...) or (1, 1, ...)
        return self.numbers(name).float() / factors


def index(path: Path) -> ModelFile:
    """What a file holds, and where; no weights are read. Raises CTranslate2Error."""
    try:
        readable(path, LARGEST)
        with open(path, "rb") as file:
            return _Reader(path, file).model()
    except FileNotFoundError as error:
        raise CTranslate2Error(f"{path.absolute().parent.name} holds no {MODEL}.") from error
    except OSError as error:
        raise _unreadable(path, error) from error


class _Reader:
    """Reads on from where it is. Its methods raise CTranslate2Error."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.left = os.fstat(file.fileno()).st_size  # bytes

    def model(self) -> ModelFile:
        if (version := self.number("<I")) != VERSION:
            self.refuse(f"begins with version {version:,}, and {VERSION} is the one that is read: it is another file")
        kind, revision = self.name(), self.number("<I")
        variables: dict[str, Variable] = {}
        for _ in range(self.count("variables")):
            name = self.new_name(variables)
            variables[name] = self.variable(name)
        for _ in range(self.count("aliases")):
            alias, name = self.new_name(variables), self.name()
            if name not in variables:
                self.refuse(f"names {name!r}, which it does not hold")
            variables[alias] = variables[name]
            if name + SCALE in variables:
                variables.setdefault(alias + SCALE, variables[name + SCALE])
        if self.left:
            self.refuse(f"has bytes behind its end: {self.left:,}")
        return ModelFile(self.path, kind, revision, variables)

    def variable(self, name: str) -> Variable:
        rank = self.number("<B")
        if rank > HIGHEST_RANK:
            self.refuse(f"gives {name!r} {rank} dimensions; {HIGHEST_RANK} are the most")
        shape = tuple(self.number("<I") for _ in range(rank))
        if (number := self.number("<B")) >= len(TYPES):
            self.refuse(f"gives {name!r} the type {number}, which is unknown")
        size = self.number("<I")
        variable = Variable(shape, TYPES[number], self.file.tell())
        if size != variable.size:
            self.refuse(f"gives {name!r} {size:,} bytes; its shape {shape} takes {variable.size:,}")
        self.claim(size)
        self.file.seek(size, os.SEEK_CUR)
        return variable

    def new_name(self, known: dict[str, Variable]) -> str:
        name = self.name()
        if name in known:
            self.refuse(f"holds {name!r} twice")
        return name

    def name(self) -> str:
        length = self.number("<H")
        if not 0 < length <= LONGEST_NAME:
            self.refuse(f"has a name of {length:,} bytes; 1 to {LONGEST_NAME} make sense")
        raw = self.take(length)
        try:
            name = raw[:-1].decode()
        except UnicodeDecodeError:
            name = ""
        if raw[-1] or not name or not name.isprintable():
            self.refuse(f"has a name that is no text: {reprlib.repr(raw)}")
        return name

    def count(self, what: str) -> int:
        if (count := self.number("<I")) > MOST_VARIABLES:
            self.refuse(f"claims {count:,} {what}; {MOST_VARIABLES:,} are the most")
        return count

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def take(self, size: int) -> bytes:
        self.claim(size)
        if len(data := self.file.read(size)) < size:
            self.refuse("became shorter while it was read")
        return data

    def claim(self, size: int) -> None:
        """So many of the bytes that are left, which must be there."""
        if size > self.left:
            self.refuse(f"ends too early: it should go on for {size:,} bytes more and does for {self.left:,}")
        self.left -= size

    def refuse(self, why: str) -> None:
        raise CTranslate2Error(f"{_shown(self.path)} {why}. It is damaged, or not what CTranslate2 writes: copy it again.")


def _shown(path: Path) -> str:
    return f"{path.absolute().parent.name}/{path.name}"


def _unreadable(path: Path, error: OSError) -> CTranslate2Error:
    return CTranslate2Error(f"{_shown(path)} cannot be read: {error.strerror}.")
