"""The files of a checkpoint, written together: a crash at any moment leaves all of the old ones or all of the new ones.

They are first written into a hidden folder beside their places, with a list of their names and sizes. From the moment that
folder gets its name, UNFINISHED, `locate` finds the new ones there. Then each is moved to its place: at once or, after a
crash, when the checkpoint is next written. Only what the list names is read, moved or removed. If the folder holds anything
else, nothing is, and an OSError asks to move it elsewhere.

Earlier versions called this folder .saved and kept no list. It is no longer read or moved, because somebody's own copy of a
checkpoint under that name looks the same. After a crash of such a version the places hold the whole old checkpoint, or a
mixture of both if it crashed while it moved the files. Loading refuses a mixture of two architectures; in one of the same
architecture config.json or the language model may be older than the weights. Saving the checkpoint again mends both.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from pathlib import Path

from asr_core.files import name_beside, readable, remove, write_atomically, write_to_disk

UNFINISHED = ".ctc-lens-unfinished-save"
LIST = "files.json"  # in it: {name: bytes} of the others
LARGEST_LIST = 10_000  # bytes


def write_together(folder: Path, files: dict[str, bytes]) -> None:
    """All of them or, after an error or a crash, none. files: by their names in the folder. Others that are there stay.

    Raises OSError, which names the folder.
    """
    unfinished = folder / UNFINISHED
    try:
        temporary = name_beside(unfinished)
        _settle(folder)
        try:
            temporary.mkdir()
            for name, data in files.items():
                write_to_disk(temporary / name, data)
            sizes = {name: len(data) for name, data in files.items()}
            write_to_disk(temporary / LIST, json.dumps(sizes).encode())
            os.rename(temporary, unfinished)
        finally:
            remove(temporary)
        _settle(folder)
    except OSError as error:
        error.filename = str(folder)
        raise


def write_one(path: Path, data: bytes) -> None:
    """One of such files alone. What a crash left unfinished is put in its place first, or it would hide the new one."""
    _settle(path.parent)
    write_atomically(path, data)


def locate(folder: Path, name: str) -> Path:
    """Where the file lies that was last written under this name; it may be missing. Raises OSError."""
    return folder / UNFINISHED / name if name in _waiting(folder) else folder / name


def _settle(folder: Path) -> None:
    """Move what was written together to its place."""
    unfinished = folder / UNFINISHED
    for name in _waiting(folder):
        os.replace(unfinished / name, folder / name)
    if unfinished.is_dir():
        (unfinished / LIST).unlink(missing_ok=True)
        unfinished.rmdir()


def _waiting(folder: Path) -> list[str]:
    """The names of the files that are not in their places yet. Raises OSError for what `write_together` did not leave so."""
    unfinished = folder / UNFINISHED
    try:
        found = _sizes(unfinished)
    except FileNotFoundError:
        return []
    except NotADirectoryError as error:
        if not folder.is_dir():  # whoever reads or writes there will say so
            return []
        raise _strange(unfinished, "it is no folder") from error
    if not found:  # everything was moved, and the list is gone
        return []
    try:
        listed = json.loads(readable(unfinished / LIST, LARGEST_LIST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if found.get(LIST) is not None:  # another process has put everything in its place meanwhile
            return _waiting(folder)
        raise _strange(unfinished, f"it holds no {LIST}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _strange(unfinished, f"its {LIST} cannot be read") from error
    found.pop(LIST, None)
    if not isinstance(listed, dict) or None in found.values() or not found.items() <= listed.items():
        raise _strange(unfinished, f"it holds other things than its {LIST} says")
    return list(found)


def _sizes(folder: Path) -> dict[str, int | None]:
    """The name of whatever is in the folder -> bytes; None for what is no ordinary file."""
    sizes = {}
    for name in sorted(os.listdir(folder)):
        with contextlib.suppress(FileNotFoundError):  # another process has just put it in its place
            status = os.lstat(folder / name)
            sizes[name] = status.st_size if stat.S_ISREG(status.st_mode) else None
    return sizes


def _strange(unfinished: Path, why: str) -> OSError:
    reason = f"its hidden folder {UNFINISHED} is not as a save that broke off leaves it: {why}. Move it elsewhere"
    return OSError(errno.EINVAL, reason, str(unfinished.parent))
