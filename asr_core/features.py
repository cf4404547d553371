"""LogMel: waveform -> normalised log-mel frames, the same in training and in the page."""

from __future__ import annotations

import math
import reprlib
import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn

from asr_core.settings import require_number, require_whole


@dataclass(frozen=True)
class FeatureConfig:
    """Everything that decides a feature value; stored in the checkpoint.

    win_length and hop_length are in samples; mean and std are those of the log-mel values of the training speech,
    one number each, so that neither the batch nor the rest of a recording changes a frame.
    """

    sample_rate: int = 16_000  # Hz
    n_fft: int = 400
    win_length: int = 400  # 25 ms
    hop_length: int = 160  # 10 ms
    n_mels: int = 80
    floor: float = 1e-6  # added to the mel power before the logarithm: about 100 dB below full scale
    mean: float = -6.2
    std: float = 4.2
    slaney: bool = False  # mel scale and bin areas as librosa's and Whisper's (Slaney 1998), in place of HTK's

    def __post_init__(self) -> None:
        require_whole(self, "sample_rate", least=8_000, most=48_000)
        if self.sample_rate % 25:  # or resampling would need a filter for each of thousands of phases
            raise ValueError(f"sample_rate is {self.sample_rate}; it must be a multiple of 25 Hz.")
        require_whole(self, "n_fft", least=16, most=16_384)
        require_whole(self, "win_length", most=self.n_fft)
        require_whole(self, "hop_length", least=self.sample_rate // 1_000, most=self.sample_rate)  # 1 ms to 1 s
        require_whole(self, "n_mels", most=1_024)
        require_number(self, "floor", "std", least=1e-12, most=1e6)
        require_number(self, "mean", least=-1e6, most=1e6)
        if not isinstance(self.slaney, bool):
            raise ValueError(f"slaney is {reprlib.repr(self.slaney)}; it must be true or false.")

    @classmethod
    def at(cls, sample_rate: int) -> FeatureConfig:
        """The same windows in seconds at another sample rate, Hz."""
        window = round(0.025 * sample_rate)
        return cls(sample_rate, n_fft=window, win_length=window, hop_length=round(0.01 * sample_rate))

    @property
    def silence(self) -> float:
        """What no bin of a silent frame reaches: there the sound has less power than the floor that is added to it."""
        return (math.log(2 * self.floor) - self.mean) / self.std

    @property
    def frame_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop_length / self.sample_rate


# Whisper's features: (log10(mel power) + 4) / 4, here with a floor that is added, and without Whisper's clamp to 8 below the
# clip's own maximum, so that a piece of a recording has the frames that the whole has.
WHISPER = FeatureConfig(floor=3e-7, mean=-9.21034, std=9.21034, slaney=True)


class LogMel(nn.Module):
    """log(mel power + floor), then (x - mean) / std. Frame t is centred on sample t * hop_length."""

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        with warnings.catch_warnings():
            # 128 bins over a 400-point FFT leave some low bins empty. torchaudio warns; the empty bins are constant.
            warnings.filterwarnings("ignore", message="At least one mel filterbank has all zero values")
            self.mel = torchaudio.transforms.MelSpectrogram(
                sample_rate=config.sample_rate,
                n_fft=config.n_fft,
                win_length=config.win_length,
                hop_length=config.hop_length,
                n_mels=config.n_mels,
                mel_scale="slaney" if config.slaney else "htk",
                norm="slaney" if config.slaney else None,
            )

    def output_lengths(self, samples: Tensor | int) -> Tensor | int:
        """Frames T for a number of samples S."""
        return samples // self.config.hop_length + 1

    def forward(self, waveform: Tensor) -> Tensor:
        """(..., S) float32 in [-1, 1] -> (..., T, M). S must exceed n_fft / 2: the edges are padded by reflection."""
        power = self.mel(waveform)  # (..., M, T)
        log_mel = (power + self.config.floor).log()
        return ((log_mel - self.config.mean) / self.config.std).transpose(-1, -2)


class LogMelPieces:
    """Sound in pieces -> its frames in pieces: joined, they are those of the whole, to float32's rounding."""

    def __init__(self, log_mel: LogMel) -> None:
        config = log_mel.config
        self.log_mel, self.hop, self.half = log_mel, config.hop_length, config.n_fft // 2
        self.margin = math.ceil(self.half / self.hop) + 1  # frames at the edge of a piece that reflection may have changed
        self.kept = np.zeros(0, np.float32)  # the samples that are needed again, from frame `first` on
        self.first = self.done = 0  # frames

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """(S,) more -> (T, M): every frame whose sound is all there."""
        self.kept = np.concatenate([self.kept, samples])
        return self._frames((len(self.kept) - self.half) // self.hop + 1 + self.first)

    def finish(self) -> np.ndarray:
        """(T, M): the rest. All samples together must exceed n_fft / 2."""
        return self._frames(self.log_mel.output_lengths(len(self.kept)) + self.first)

    def _frames(self, ready: int) -> np.ndarray:
        """Those that have not been given out, up to frame `ready`."""
        if ready <= self.done:
            return np.zeros((0, self.log_mel.config.n_mels), np.float32)
        with torch.no_grad():
            features = self.log_mel(torch.from_numpy(self.kept))  # (T, M)
        made = features[self.done - self.first : ready - self.first].numpy()
        start = max(0, ready - self.margin)
        self.kept = self.kept[(start - self.first) * self.hop :]
        self.first, self.done = start, ready
        return made
