"""Model cards: the README.md beside a model's weights, where its makers tell of it and name its licence."""

from __future__ import annotations

import os
import re
from pathlib import Path

from asr_core.files import readable

CARD = "README.md"
LARGEST = 1_000_000  # bytes
LONGEST_LICENCE = 60  # characters: "cc-by-nc-sa-4.0" has 15


def card_of(folder: Path) -> str:
    """Its file, or "" where there is none."""
    return str(folder / CARD) if os.path.isfile(folder / CARD) else ""  # Path's own fails where a name is too long


def licence_of(folder: Path) -> str:
    """As the Hub reads it from the first lines of the card, those between two lines of dashes: "mit". "" where none is
    named, and where the card cannot be read."""
    try:
        text = readable(folder / CARD, LARGEST).read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return ""
    first_lines = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    named = first_lines and re.search(r"^license: *(\S.*)$", first_lines[1], re.MULTILINE)
    return named[1].strip().strip("\"'")[:LONGEST_LICENCE] if named else ""
