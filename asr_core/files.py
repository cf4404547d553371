"""Writing files so that a crash leaves the old or the new, never half of either; opening only what is a file."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from functools import cache
from pathlib import Path
from zlib import crc32

OURS = ".ctc-lens-"  # begins the name of whatever is half written, so that nobody's own file is ever taken for it
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
    """The path itself. Raises OSError unless it is an ordinary file of at most `most` bytes; a pipe would be waited for
    without end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not an ordinary file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it holds {status.st_size:,} bytes, and at most {most:,} make sense", str(path))
    return path


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside `path`, flush to disk, rename over it. What a killed process left half written of it is cleared away."""
    try:
        temporary = name_beside(path)
        try:
            write_to_disk(temporary, data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        error.filename = str(path)  # else it would name the temporary file, or none
        raise


def name_beside(path: Path) -> Path:
    """This process's own name for what shall be renamed to `path` once it is whole, in the same folder, which is made.

    What processes that are gone left under such names for the same path is removed, files and folders.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = f"{OURS}{crc32(os.fsencode(path.name)):08x}-"  # of any length itself, `path` may have the longest name there is
    for left in _half_written(Path(os.path.abspath(path.parent))):
        process = left.name.removeprefix(begin).removesuffix(".tmp")
        if process.isdecimal() and not _is_alive(int(process)):
            remove(left)
    return path.with_name(f"{begin}{os.getpid()}.tmp")


def write_to_disk(path: Path, data: bytes) -> None:
    """Returns when the content is on the disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    """A file, a link, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@cache  # once in a process: a folder may hold a hundred thousand results
def _half_written(folder: Path) -> tuple[Path, ...]:
    return tuple(folder.glob(f"{OURS}*.tmp"))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (OverflowError, ProcessLookupError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True
