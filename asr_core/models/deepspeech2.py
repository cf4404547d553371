"""The starting model: residual CNN, five bidirectional LSTMs, two-layer classifier. 31,055,645 parameters at the defaults.

After DeepSpeech 2 (Amodei et al. 2015, arXiv 1512.02595) in the shape that many tutorials give it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_core.models.encoder import Encoded, Encoder
from asr_core.models.masking import frame_mask, strided_length
from asr_core.settings import require_number, require_whole
from asr_core.text import MOST_TOKENS


@dataclass(frozen=True)
class DeepSpeech2Config:
    n_mels: int = 128
    vocabulary: int = 29
    channels: int = 32
    cnn_blocks: int = 3
    lstm_layers: int = 5
    lstm_size: int = 512  # of each direction
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_whole(self, "n_mels", "channels", most=1_024)
        require_whole(self, "lstm_size", most=16_384)
        require_whole(self, "vocabulary", most=MOST_TOKENS)
        require_whole(self, "lstm_layers", most=64)
        require_whole(self, "cnn_blocks", least=0, most=64)
        require_number(self, "dropout", least=0, most=1)


class ResidualBlock(nn.Module):
    """Two (norm over mel bins, GELU, dropout, 3x3 convolution), and a skip."""

    def __init__(self, channels: int, n_mels: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(n_mels) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, C, M, T), mask (B, 1, 1, T) -> (B, C, M, T). A 3-wide kernel sees its neighbours: padding must be zero."""
        residual = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = norm(x.transpose(2, 3)).transpose(2, 3)  # over M
            x = convolution(self.dropout(F.gelu(x)) * mask)
        return (x + residual) * mask


class BiLSTM(nn.Module):
    """One norm, GELU and bidirectional LSTM, dense.

    Packed sequences are ten times slower to train on a CPU. Instead each utterance is turned round within its own
    length, so that both directions start on a real frame and no state ever comes out of the padding.
    """

    def __init__(self, input_size: int, size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(input_size)
        self.ahead = nn.LSTM(input_size, size, batch_first=True)
        self.back = nn.LSTM(input_size, size, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x (B, T, input_size), lengths (B,) -> (B, T, 2 * size)."""
        x = F.gelu(self.norm(x))
        frames = torch.arange(x.shape[1], device=x.device)[None, :]  # (1, T)
        turned = torch.where(frames < lengths[:, None], lengths[:, None] - 1 - frames, frames)[..., None]  # (B, T, 1)
        ahead, _ = self.ahead(x)
        back, _ = self.back(x.gather(1, turned.expand_as(x)))
        return self.dropout(torch.cat([ahead, back.gather(1, turned.expand_as(back))], dim=-1))


class DeepSpeech2(Encoder):
    subsampling = 2

    def __init__(self, config: DeepSpeech2Config) -> None:
        super().__init__()
        self.config = config
        halved_mels = strided_length(config.n_mels)
        self.stem = nn.Conv2d(1, config.channels, 3, stride=2, padding=1)
        self.residual = nn.ModuleList(
            ResidualBlock(config.channels, halved_mels, config.dropout) for _ in range(config.cnn_blocks)
        )
        self.projection = nn.Linear(config.channels * halved_mels, config.lstm_size)
        self.lstms = nn.ModuleList(
            BiLSTM(config.lstm_size * (1 if layer == 0 else 2), config.lstm_size, config.dropout)
            for layer in range(config.lstm_layers)
        )
        self.classifier = nn.Sequential(
            nn.Linear(2 * config.lstm_size, config.lstm_size),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.lstm_size, config.vocabulary),
        )

    def output_lengths(self, lengths: Tensor | int) -> Tensor | int:
        return strided_length(lengths)

    def forward(self, features: Tensor, lengths: Tensor) -> Encoded:
        features = features.masked_fill(~frame_mask(lengths, features.shape[-1])[:, None, None], 0.0)  # (B, 1, M, T)
        lengths = self.output_lengths(lengths)
        x = self.stem(features)  # (B, C, M/2, T')
        mask = frame_mask(lengths, x.shape[-1])[:, None, None]  # (B, 1, 1, T')
        x = x * mask
        for block in self.residual:
            x = block(x, mask)
        x = self.projection(x.flatten(1, 2).transpose(1, 2))  # (B, T', lstm_size)
        for lstm in self.lstms:
            x = lstm(x, lengths)
        return Encoded(self.classifier(x), lengths)
