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
LONGEST = 300  # characters that are told of what was before
THEN = ", then "
WHISPER = ("hf:", "ct2:")  # begin the names of what asr_core/whisper reads


def begun_with(source: str, before: Mapping) -> str:
    """What is told of a training that begins with this: a Hub id or, without its place, the name of a folder. before: the
    table of the training that made it, where there was one; what that one began with comes first."""
    prefix, colon, name = ("", "", source) if os.path.isdir(source) else source.rpartition(":")
    shown = prefix + colon + (Path(os.path.abspath(name)).name if os.path.isdir(name) else name)
    earlier = told_by(before)
    return f"{earlier}{THEN}{shown}" if earlier else shown


def told_by(training: Mapping) -> str:
    """ "" of a training that began with random weights, and where a strange config.json tells anything but a line."""
    told = training.get(KEY)
    return told if isinstance(told, str) and told.isprintable() and len(told) <= LONGEST else ""


def notices(training: Mapping) -> dict[str, bytes]:
    """The files, by their names, that must lie beside the weights of this training."""
    from_whisper = any(each.startswith(WHISPER) for each in told_by(training).split(THEN))
    return {NOTICE_FILE: NOTICE.encode()} if from_whisper else {}
