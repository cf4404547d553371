"""The checkpoints that come with CTC Lens: their names, by which they are found from any working directory."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "checkpoints"


class CheckpointError(ValueError):
    """A checkpoint that is not there or cannot be used; the message says which and why."""


def names() -> list[str]:
    """Of those that are there with their weights."""
    return sorted(path.parent.name for path in FOLDER.glob("*/model.safetensors"))


def choices() -> str:
    """For the help of an option that takes a checkpoint."""
    return f"{', '.join(names())} (shipped; ./NAME is a folder)"


def folder_of(source: str | Path) -> Path:
    """The folder that is meant, which need not be there: a shipped one by its bare name, or else the path.

    "./NAME" is a path, and so is a Path where it leads to a folder, since it cannot tell "./NAME" from "NAME". Raises
    CheckpointError for a bare name that another checkpoint in the working directory has, too: either could be meant.
    """
    folder, ours = Path(source), FOLDER / source
    if str(source) not in names():
        return folder.resolve() if folder.name in ("", "..") else folder  # so that "." has a name
    if isinstance(source, Path) and folder.is_dir():
        return folder
    if (folder / "config.json").exists() and not folder.samefile(ours):
        raise CheckpointError(
            f"{source} is a shipped checkpoint, and there is another one of that name here. Write ./{source} for the one "
            f"here, or {ours} for the shipped one."
        )
    return ours


def target(name: str) -> Path:
    """The folder to write a checkpoint into. Raises CheckpointError for a shipped one's bare name: it would be changed, or
    get a namesake."""
    if name in names():
        raise CheckpointError(
            f"{name} is a shipped checkpoint, and nothing is written to it by its bare name. Write ./{name} for a folder "
            f"here, or {FOLDER / name} to change the shipped one."
        )
    return Path(name)
