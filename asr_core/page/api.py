"""The endpoints for programs: /transcribe, /align and /diagnose (docs/api.md), through the same lines as the page."""

# No postponed annotations: Gradio makes the endpoints' schema of the types themselves.
import asyncio
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from gradio.data_classes import FileData
from gradio.utils import get_upload_folder, is_in_or_equal

from asr_core import doctor, reference
from asr_core.alignment import AlignmentError
from asr_core.audio import AudioError
from asr_core.decoding import DECODERS
from asr_core.doctor import EvidenceError
from asr_core.doctor.reading import read
from asr_core.export import as_dict
from asr_core.page import waiting
from asr_core.page.explorer import MODEL_QUEUE
from asr_core.page.visits import Visits
from asr_core.reception import NotServed, Reception
from asr_core.text import TextError
from asr_core.transcription import Transcription

LONGEST_TEXT = 2_000  # characters
REFUSALS = (AlignmentError, AudioError, EvidenceError, NotServed, TextError)


def build(reception: Reception, visits: Visits) -> None:
    async def heard(file: Any, decoder: str | None, request: gr.Request) -> Transcription:
        if decoder not in (None, *DECODERS):
            raise gr.Error(f"There is no decoder {decoder!r}. There are: {', '.join(DECODERS)}.", print_exception=False)
        path = visits.note(request, uploaded(file))
        (reading,) = await waiting.readings(reception, path, [decoder], request.session_hash)
        return reading

    # What is missing has a default, so that whoever leaves it out is told so in a sentence.
    async def transcribe(
        file: FileData = None, decoder: Literal["greedy", "beam"] | None = None, request: gr.Request = None
    ) -> dict:
        """Write what was said in a recording of English speech.

        Args:
            file: the recording: WAV, FLAC, OGG, Opus, MP3, AIFF or AU.
            decoder: "greedy" for the letters alone, "beam" for the likeliest words; left out, the better of the two.
        Returns:
            The text, and its words and letters, each with its seconds and its probability.
        """
        try:
            return as_dict(await heard(file, decoder, request))
        except REFUSALS as error:
            raise gr.Error(str(error), print_exception=False) from error

    async def align(file: FileData = None, text: str = "", request: gr.Request = None) -> dict:
        """Find when each word and letter of a sentence is spoken in a recording of it, and what it costs the model.

        Args:
            file: the recording: WAV, FLAC, OGG, Opus, MP3, AIFF or AU.
            text: what is said in it.
        Returns:
            The words and letters of the text, each with its seconds, its probability and its cost in nats; the CTC loss of
            the text, and the errors of what the model would have written.
        """
        if not isinstance(text, str) or len(text) > LONGEST_TEXT:
            raise gr.Error(f"The text is to be a string of at most {LONGEST_TEXT:,} characters.", print_exception=False)
        try:
            reading = await heard(file, None, request)
            result = await asyncio.to_thread(reference.align, reading, text)
        except REFUSALS as error:
            raise gr.Error(str(error), print_exception=False) from error
        return as_dict(result.aligned, result)

    def diagnose(file: FileData = None, request: gr.Request = None) -> dict:
        """Find what is wrong with a batch of a CTC training: why the loss is negative, not a number, or stuck.

        Args:
            file: .npz or .safetensors with log_probs (T, B, V), targets, input_lengths, target_lengths and blank.
        Returns:
            The mistakes that were found, each with its evidence and its fix; the numbers; and all of it as a text, `report`.
        """
        try:
            diagnosis = doctor.diagnose(**read(visits.note(request, uploaded(file))))
        except EvidenceError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return {**diagnosis.as_dict(), "report": str(diagnosis)}

    gr.api(transcribe, concurrency_limit=None)
    gr.api(align, concurrency_limit=None)
    gr.api(diagnose, **MODEL_QUEUE)


def uploaded(file: Any) -> str:
    """The path of an uploaded file. Whatever else lies on the server is nobody's to read."""
    path = file.get("path") if isinstance(file, dict) else None
    if not isinstance(path, str) or not path:
        raise gr.Error(
            "There is no file. Upload one first, and name what the upload returned as path.", print_exception=False
        )
    try:
        there = is_in_or_equal(path, get_upload_folder()) and Path(path).is_file()
    except (OSError, ValueError):  # no name that a file can have
        there = False
    if not there:
        raise gr.Error(f"{Path(path).name[:60]} was not uploaded here. Upload it first.", print_exception=False)
    return path
