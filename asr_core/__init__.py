"""CTC Lens: train CTC recognisers, transcribe, and see how every letter came about."""

from asr_core import shipped
from asr_core.alignment import AlignmentError, Span
from asr_core.audio import AudioError
from asr_core.checkpoint import Checkpoint, CheckpointError
from asr_core.ctc import CtcError, ctc_loss
from asr_core.doctor import Diagnosis, EvidenceError, diagnose, watch
from asr_core.emission import Emission
from asr_core.many import WorkersLost, transcribe_many
from asr_core.posteriors import Posteriors, PosteriorsError
from asr_core.reference import Reference, align
from asr_core.sound import Sound
from asr_core.text import Alphabet, TextError
from asr_core.transcriber import Transcriber
from asr_core.transcription import Transcription

DEFAULT_CHECKPOINT = shipped.FOLDER / "fast"

__all__ = ["DEFAULT_CHECKPOINT", "AlignmentError", "Alphabet", "AudioError", "Checkpoint", "CheckpointError", "CtcError"]
__all__ += ["Diagnosis", "Emission", "EvidenceError", "Posteriors", "PosteriorsError", "Reference", "Sound", "Span"]
__all__ += ["TextError", "Transcriber", "Transcription", "WorkersLost", "align", "ctc_loss", "diagnose", "transcribe_many"]
__all__ += ["watch"]
