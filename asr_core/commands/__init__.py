"""The commands of `python -m asr_core`: each module adds its own to the parser, with the function that runs it."""
