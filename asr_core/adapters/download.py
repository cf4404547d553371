"""One file from the net to a cache: with progress, and after an interruption it goes on where it stopped."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

BLOCK = 2**20  # bytes
PATIENCE_S = 30.0  # without a byte


def download(url: str, path: Path) -> None:
    """To `path`, unless it is there. What has come of it lies beside it, with the ending .partial. Raises OSError, of which
    HTTPError says that the server has no such file."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    have = partial.stat().st_size if partial.exists() else 0
    try:
        answer = urlopen(Request(url, headers={"Range": f"bytes={have}-"} if have else {}), timeout=PATIENCE_S)
    except HTTPError as error:
        if error.code != 416:  # nothing is left to send: what is there is whole
            raise
    else:
        with answer:
            _append(answer, partial, have if answer.status == 206 else 0, path.name)
    os.replace(partial, path)


def _append(answer: object, partial: Path, have: int, name: str) -> None:
    """The answer's bytes behind the first `have` of the file."""
    rest = int(answer.headers.get("Content-Length") or 0)
    with open(partial, "r+b" if have else "wb") as file:
        file.seek(have)
        file.truncate()
        bar = tqdm(total=have + rest or None, initial=have, unit="B", unit_scale=True, desc=name, file=sys.stderr)
        with bar:
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
        if rest and file.tell() < have + rest:
            raise ConnectionError(f"the connection ended after {file.tell():,} of {have + rest:,} bytes")
