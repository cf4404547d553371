"""Writing files so that a crash leaves the old or the new, never half of either; opening only what is a file."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from functools import cache
from pathlib import Path

SAVED = ".saved"  # in a folder: files that were written together, while they are not all in their places
SPACE = "Make room there and run the same command again; what was there before is as it was."
ADVICE = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EROFS: "Nothing can be written there: choose another folder.",
    errno.EACCES: "Its permissions do not allow it: choose another, or change them.",
}


def sentence(error: OSError, place: object = "A file or the standard output") -> str:
    """What cannot be used, why, and what to do. place: named where the system does not say which file it was."""
    return f"{error.filename or place} cannot be used: {error.strerror or error}. {ADVICE.get(error.errno, '')}".rstrip()


def readable(path: Path, most: int) -> Path:
    """Where the file lies that was last written whole under this name. Raises OSError unless it is an ordinary file, since a
    pipe would be waited for without end, of at most `most` bytes."""
    waiting = path.parent / SAVED / path.name
    found = waiting if waiting.is_file() else path
    status = found.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not an ordinary file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it holds {status.st_size:,} bytes, and at most {most:,} make sense", str(path))
    return found


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside `path`, flush to disk, rename over it. What a killed process left half written is cleared away."""
    temporary = _beside(path)
    try:
        _begin(path)
        try:
            _write(temporary, data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        error.filename = str(path)  # else it would name the temporary file, or none
        raise


def write_together(folder: Path, files: dict[str, bytes]) -> None:
    """Write files that belong together: a crash at any moment leaves all of the old ones or all of the new ones.

    They are written into a folder of their own, which gets the name SAVED when it is whole: from that moment on `readable`
    finds the new ones. Then each is moved to its place, now or, after a crash, when something is next written here.
    """
    saved = folder / SAVED
    temporary = _beside(saved)
    try:
        _begin(saved)
        try:
            temporary.mkdir()
            for name, data in files.items():
                _write(temporary / name, data)
            os.rename(temporary, saved)
        finally:
            _remove(temporary)
        _settle(folder)
    except OSError as error:
        error.filename = str(folder)
        raise


def _begin(path: Path) -> None:
    """Make the folder ready for a new file or folder of this name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in _half_written(Path(os.path.abspath(path.parent))):
        process = left.name.removeprefix(f".{path.name}.").removesuffix(".tmp")
        if process.isdecimal() and not _is_alive(int(process)):
            _remove(left)
    _settle(path.parent)


@cache  # once in a process: a folder may hold a hundred thousand results
def _half_written(folder: Path) -> tuple[Path, ...]:
    return tuple(folder.glob(".*.tmp"))


def _settle(folder: Path) -> None:
    """Move what was written together to its place."""
    saved = folder / SAVED
    if not saved.is_dir():
        return
    for each in saved.iterdir():
        os.replace(each, folder / each.name)
    saved.rmdir()


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (OverflowError, ProcessLookupError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True
