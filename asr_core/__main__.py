"""python -m asr_core COMMAND.

Exit code: 2 when some input could not be used, 1 when diagnose finds an error, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

from asr_core import (
    DEFAULT_CHECKPOINT,
    AlignmentError,
    AudioError,
    CheckpointError,
    EvidenceError,
    TextError,
    WorkersLost,
    shipped,
)
from asr_core.benchmark import BenchmarkError
from asr_core.commands import (
    benchmark,
    compress,
    diagnose,
    evaluate,
    export_onnx,
    language_model,
    prepare,
    push,
    transcribe,
)
from asr_core.data.utterances import DataError
from asr_core.files import sentence
from asr_core.language_model import LanguageModelError
from asr_core.onnx_export import OnnxError
from asr_core.posteriors import PosteriorsError
from asr_core.sharing import SharingError

REFUSALS = (AlignmentError, AudioError, BenchmarkError, CheckpointError, DataError, EvidenceError, LanguageModelError)
REFUSALS += (OnnxError, PosteriorsError, SharingError, TextError, WorkersLost)


def main() -> int:
    description = "Transcribe speech, align text with it, and measure a model."
    parser = argparse.ArgumentParser(prog="python -m asr_core", description=description)
    commands = parser.add_subparsers(dest="command", required=True)
    model = f"{shipped.choices()}, a folder, or a Hub id"
    for module in (transcribe, evaluate, diagnose, benchmark, prepare, language_model, compress, push, export_onnx):
        for command in module.add(commands):  # those that need a model
            command.add_argument("--checkpoint", default=str(DEFAULT_CHECKPOINT), metavar="MODEL", help=model)
    args = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # the name of a file may be no text
    try:
        code = args.run(args)
        sys.stdout.flush()  # here, where a full disk or a reader that has gone can still be told
        return code
    except REFUSALS as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has had enough, as `| head` has
        _discard_output()
        return 1
    except OSError as error:
        print(sentence(error), file=sys.stderr)
        _discard_output()
        return 2


def _discard_output() -> None:
    """What standard output still holds cannot be written: without this Python tries again at its end, and complains."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
