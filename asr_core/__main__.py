"""python -m asr_core COMMAND. Exit code 2 when some input could not be used, and 1 when diagnose finds an error."""

from __future__ import annotations

import argparse
import sys

from asr_core import DEFAULT_CHECKPOINT, AlignmentError, AudioError, CheckpointError, EvidenceError, TextError
from asr_core.commands import compress, diagnose, evaluate, language_model, prepare, transcribe
from asr_core.data.utterances import DataError
from asr_core.language_model import LanguageModelError


def main() -> int:
    description = "Transcribe speech, align text with it, and measure a model."
    parser = argparse.ArgumentParser(prog="python -m asr_core", description=description)
    commands = parser.add_subparsers(dest="command", required=True)
    for module in (transcribe, evaluate, diagnose, prepare, language_model, compress):
        for command in module.add(commands):  # those that need a model
            command.add_argument("--checkpoint", default=str(DEFAULT_CHECKPOINT), metavar="DIR_OR_HUB_ID")
    args = parser.parse_args()
    try:
        return args.run(args)
    except (AlignmentError, AudioError, CheckpointError, DataError, EvidenceError, LanguageModelError, TextError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
