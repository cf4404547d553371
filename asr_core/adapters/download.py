"""One file from the net: by one process while others wait, with progress, and after an interruption it goes on.

Until PATH is whole, PATH.partial beside it holds what has come, PATH.partial.json says of which version of the file, and
PATH.lock is held by the process that fetches it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from urllib.response import addinfourl

from filelock import FileLock, Timeout
from tqdm import tqdm

from asr_core.files import write_atomically

BLOCK = 2**20  # bytes
PATIENCE_S = 30.0  # without a byte


@dataclass(frozen=True)
class _Version:
    """Of a file on a server. tag: its strong ETag, else its Last-Modified, else "". size: bytes; None if it does not say."""

    tag: str
    size: int | None

    def may_be(self, other: _Version) -> bool:
        """Whether nothing that both say differs."""
        pairs = (self.tag, other.tag), (self.size, other.size)
        return all(not one or not another or one == another for one, another in pairs)


def download(url: str, path: Path, sha256: str = "") -> None:
    """Fetch the file to `path`, unless it is there. sha256: in hexadecimal, where it is known.

    Raises OSError, of which HTTPError says that the server has no such file. What has come of it is kept, and the next call
    goes on from there if the server still has the same version (If-Range, RFC 9110, section 13.1.5); else it begins again.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path):
        if path.exists():  # another process has fetched it
            return
        partial, note = (path.with_name(path.name + ending) for ending in (".partial", ".partial.json"))
        try:
            _complete(url, partial, note, path.name)
        except HTTPException as error:
            raise ConnectionError(f"the connection broke off ({type(error).__name__})") from error
        if sha256 and (found := _sha256(partial)) != sha256:
            partial.unlink()
            raise OSError(f"what came of {url} was damaged, and is deleted: its SHA-256 is {found}, expected {sha256}")
        note.unlink(missing_ok=True)
        os.replace(partial, path)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """While this process makes `path`, other processes wait here. Each has to look first whether it is there by then."""
    file = path.with_name(path.name + ".lock")
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Another process is fetching {path.name}: waiting for it.", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
    file.unlink(missing_ok=True)  # whoever still waits for it finds `path`


def _complete(url: str, partial: Path, note: Path, name: str) -> None:
    """Append to the partial file what it lacks, or write it anew."""
    have, version = _kept(partial, note)
    if have:
        with _ask(url, have, version.tag if version else "") as answer:
            found = _version(answer)
            known = not version or version.may_be(found)
            if answer.status == 416 and found.size == have and known:  # nothing is left to send
                return
            if answer.status == 206 and _start(answer) == have and version and known:
                _append(answer, partial, have, found.size or version.size, name)
                return
            if answer.status == 200:  # it is another version, or the server sends no parts
                _write_anew(answer, partial, note, name)
                return
    with _ask(url) as answer:
        _write_anew(answer, partial, note, name)


def _kept(partial: Path, note: Path) -> tuple[int, _Version | None]:
    """How many bytes there are, and of which version; None where that cannot be said."""
    have = partial.stat().st_size if partial.exists() else 0
    try:
        version = _Version(**json.loads(note.read_text()))
    except (OSError, TypeError, ValueError):
        return have, None
    return have, version if version.tag or version.size else None


def _ask(url: str, have: int = 0, tag: str = "") -> addinfourl:
    """The answer to a request for the file or, if `have` bytes are here and it still has that tag, for the rest of it."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    if tag:
        headers["If-Range"] = tag
    try:
        return urlopen(Request(url, headers=headers), timeout=PATIENCE_S)
    except HTTPError as error:
        if have and error.code == 416:  # it has no such part
            return error
        raise


def _write_anew(answer: addinfourl, partial: Path, note: Path, name: str) -> None:
    version = _version(answer)
    partial.write_bytes(b"")  # first, or after a crash these bytes would be of the version that is noted next
    write_atomically(note, json.dumps(asdict(version)).encode())
    _append(answer, partial, 0, version.size, name)


def _append(answer: addinfourl, partial: Path, have: int, size: int | None, name: str) -> None:
    """The answer's bytes behind the first `have` of the file, which has `size` when it is whole."""
    with open(partial, "r+b") as file:
        file.seek(have)
        with tqdm(total=size, initial=have, unit="B", unit_scale=True, desc=name, file=sys.stderr) as bar:
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
        if size is not None and file.tell() != size:
            raise ConnectionError(f"the connection ended after {file.tell():,} of {size:,} bytes")
        os.fsync(file.fileno())


def _version(answer: addinfourl) -> _Version:
    tag = answer.headers.get("ETag", "")
    if not tag or tag.startswith("W/"):  # a weak one does not say that every byte is the same
        tag = answer.headers.get("Last-Modified", "")
    size = answer.headers.get("Content-Length", "") if answer.status == 200 else _range(answer)[1]
    return _Version(tag, int(size) if size.isdecimal() else None)


def _start(answer: addinfourl) -> int | None:
    first = _range(answer)[0]
    return int(first) if first else None


def _range(answer: addinfourl) -> tuple[str, str]:
    """(first byte, size of the whole), as the answer's Content-Range has them; "" where it does not."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", ""))
    return (found[1] or "", found[2]) if found else ("", "")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
