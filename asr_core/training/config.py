"""What decides a training run, and the presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from asr_core.augment import AugmentConfig
from asr_core.features import WHISPER, FeatureConfig
from asr_core.models import AttentionUNetConfig, DeepSpeech2Config, WhisperCTCConfig


@dataclass(frozen=True)
class TrainingConfig:
    """Printed at the start, saved in the checkpoint. The same config, data and machine give the same weights."""

    encoder: dict  # for models.build_encoder
    features: FeatureConfig = field(default_factory=FeatureConfig)
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    epochs: int = 10
    batch_size: int | None = None  # utterances; either this or batch_s
    batch_s: float | None = None  # seconds of audio, padding included
    max_lr: float = 5e-4  # the one cycle's peak
    head_rate: float = 1.0  # times as much for what no other model's weights can be loaded into
    warmup: float = 0.3  # part of all steps before the peak
    weight_decay: float = 0.01
    clip: float = 1.0  # largest gradient norm
    ema_decay: float = 0.0  # of the averaged weights that are validated and saved; 0: the weights themselves
    phone_weight: tuple[float, float] = (0.0, 0.0)  # of the phone CTC loss: at the first step, at the last
    consistency: float = 0.0  # of the disagreement between two views of each utterance (CR-CTC); doubles the work
    optimiser: str = "adamw"  # or "muon"
    bfloat16: bool = False  # matrix products in bfloat16; the loss always in float32
    seed: int = 1

    def as_dict(self) -> dict:
        return asdict(self)


def _whisper(width: int, blocks: int, max_lr: float) -> TrainingConfig:
    """A CTC head on Whisper's encoder: start it with --init-from."""
    phone_block = max(4, 2 * blocks // 3)
    encoder = WhisperCTCConfig(width=width, heads=width // 64, blocks=blocks, phone_block=phone_block, dropout=0.05)
    return TrainingConfig(
        encoder={"name": "whisper_ctc", **asdict(encoder)},
        features=WHISPER,
        augmentation=AugmentConfig(
            quiet=0.15,
            reverberation=0.15,
            band_limit=0.15,
            noise=0.2,
            snr_db=(0.0, 30.0),
            silence=0.15,
            frequency_width=15,
            time_masks=6,
            time_width=25,
        ),
        epochs=10,
        batch_s=64.0,
        max_lr=max_lr,
        head_rate=8.0,
        warmup=0.1,
        ema_decay=0.999,
        phone_weight=(0.2, 0.1),
        bfloat16=True,
    )


PRESETS = {
    # The starting script, part for part: 128 mels, 12.5 ms hop, FrequencyMasking(30), TimeMasking(100), AdamW 5e-4.
    "deepspeech2": TrainingConfig(
        encoder={"name": "deepspeech2", **asdict(DeepSpeech2Config())},
        features=FeatureConfig(hop_length=200, n_mels=128, mean=-7.0, std=4.3),
        augmentation=AugmentConfig(
            speeds=(1.0,),
            gain_db=0.0,
            frequency_masks=1,
            frequency_width=30,
            time_masks=1,
            time_width=100,
            time_fraction=1.0,
        ),
        batch_size=20,
    ),
    # The page's model: what learned fastest and best on two cores (the model card has the table).
    "fast": TrainingConfig(
        encoder={"name": "attention_unet", **asdict(AttentionUNetConfig(dropout=0.1))},
        epochs=20,
        batch_s=50.0,
        max_lr=1.5e-3,
        warmup=0.1,
        ema_decay=0.999,
        phone_weight=(0.6, 0.12),
        bfloat16=True,
    ),
    "base": _whisper(width=512, blocks=6, max_lr=1.6e-4),
    "tiny": _whisper(width=384, blocks=4, max_lr=2e-4),
    "small": _whisper(width=768, blocks=12, max_lr=1.2e-4),  # for a GPU; its rate continues those of the others, unmeasured
}
