"""What a training began with, as its checkpoints tell it: a line in config.json, and the notice of Whisper's licence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

KEY = "init_from"  # in the table `training` of a checkpoint's config.json
NOTICE_FILE = "LICENSE.whisper"
NOTICE = """\
The encoder in this folder was made from the weights of OpenAI's Whisper, which stand under this licence:

MIT License

Copyright (c) 2022 OpenAI

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
THEN = ", then "
WHISPER = ("hf:", "ct2:")  # begin the names of what asr_core/whisper reads
MOST = 4  # trainings, one after the other, that are told; the first one is always among them
LONGEST_NAME = 100  # characters


def begun_with(source: str, before: Mapping) -> str:
    """What is told of a training that begins with this: a Hub id or, without its place, the name of a folder. before: the
    table of the training that made it, where there was one; what that one began with comes first."""
    prefix, colon, name = ("", "", source) if os.path.isdir(source) else source.rpartition(":")
    shown = Path(os.path.abspath(name)).name if os.path.isdir(name) else name
    shown = "".join(sign if sign.isprintable() else "?" for sign in prefix + colon + shown)[:LONGEST_NAME]
    first, *rest = [*told_by(before).split(THEN), shown] if told_by(before) else [shown]
    return THEN.join([first, *rest[-MOST + 1 :]])


def told_by(training: Mapping) -> str:
    """ "" of a training that began with random weights, and where a strange config.json tells anything but a line."""
    told = training.get(KEY)
    longest = MOST * (LONGEST_NAME + len(THEN))
    return told if isinstance(told, str) and told.isprintable() and len(told) <= longest else ""


def notices(training: Mapping) -> dict[str, bytes]:
    """The files, by their names, that must lie beside the weights of this training."""
    return {NOTICE_FILE: NOTICE.encode()} if told_by(training).startswith(WHISPER) else {}
