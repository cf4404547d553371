"""The encoders, by name."""

from __future__ import annotations

from dataclasses import asdict, fields

from asr_core.models.attention_unet import AttentionUNet, AttentionUNetConfig
from asr_core.models.deepspeech2 import DeepSpeech2, DeepSpeech2Config
from asr_core.models.encoder import Encoded, Encoder
from asr_core.models.whisper_ctc import WhisperCTC, WhisperCTCConfig

__all__ = ["ENCODERS", "AttentionUNet", "AttentionUNetConfig", "DeepSpeech2", "DeepSpeech2Config", "Encoded", "Encoder"]
__all__ += ["WhisperCTC", "WhisperCTCConfig", "build_encoder", "describe_encoder"]

ENCODERS = {
    "deepspeech2": (DeepSpeech2, DeepSpeech2Config),
    "attention_unet": (AttentionUNet, AttentionUNetConfig),
    "whisper_ctc": (WhisperCTC, WhisperCTCConfig),
}


def build_encoder(description: dict) -> Encoder:
    """{"name": ..., **config} -> an encoder with fresh weights. Raises ValueError for an unknown name or option."""
    options = dict(description)
    name = options.pop("name", None)
    if name not in ENCODERS:
        raise ValueError(f"There is no encoder called {name!r}. There are: {', '.join(ENCODERS)}.")
    encoder, config = ENCODERS[name]
    known = {field.name for field in fields(config)}
    if unknown := set(options) - known:
        raise ValueError(f"The {name} encoder has no option {sorted(unknown)}. It has: {', '.join(sorted(known))}.")
    return encoder(config(**options))


def describe_encoder(encoder: Encoder) -> dict:
    """The dictionary from which build_encoder makes the same architecture again."""
    name = next(name for name, (cls, _) in ENCODERS.items() if type(encoder) is cls)
    return {"name": name, **asdict(encoder.config)}
