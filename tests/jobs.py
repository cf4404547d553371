"""Which processes there are, by /proc: what a program started, and what of it is left."""

from __future__ import annotations

import time
from pathlib import Path


def alive(session: int) -> list[int]:
    """The processes of a session, but those that are dead and only wait to be counted."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = stat.read_text().rpartition(") ")[2].split()[:4]
        except OSError:
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def left_after(seconds: float, session: int) -> list[int]:
    """The processes of a session that do not end within these seconds."""
    deadline = time.monotonic() + seconds
    while alive(session) and time.monotonic() < deadline:
        time.sleep(0.1)
    return alive(session)


def started_by(parent: int) -> int:
    """The first process that this one started, as soon as there is one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if children := Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            return int(children[0])
        time.sleep(0.05)
    raise AssertionError("It started no process.")


def at_work(parent: int) -> int:
    """The first process that this one started, once it has its own program and torch: the parent knows of it by then."""
    child = started_by(parent)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        programs = [Path(f"/proc/{process}/cmdline").read_bytes() for process in (parent, child)]
        if programs[0] != programs[1] and "libtorch" in Path(f"/proc/{child}/maps").read_text():
            return child
        time.sleep(0.05)
    raise AssertionError("It never loaded torch.")
