"""Whisper's encoder under a CTC head: 50 frames a second in the blocks, 25 in the output.

The convolutions, positions and blocks are those of Whisper (Radford et al. 2022, arXiv 2212.04356), so its weights can be
loaded into them. Whisper's frames serve a decoder that looks everywhere, and need not say a letter where it sounds:
therefore the head looks around, with a strided convolution and two feed-forward blocks that see three frames. A CTC loss on
phones in the middle is intermediate CTC (Lee and Watanabe 2021, arXiv 2102.03216).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_core.models.encoder import Encoded, Encoder
from asr_core.models.masking import frame_mask, strided_length
from asr_core.phones import PHONES
from asr_core.settings import require_number, require_whole
from asr_core.text import MOST_TOKENS

FUSED_FROM = 400  # frames: in training, shorter attention is faster as plain products (measured on a CPU with bfloat16)


@dataclass(frozen=True)
class WhisperCTCConfig:
    """Whisper's sizes: width 384 and 4 blocks are tiny, 512 and 6 base, 768 and 12 small; a head is 64 channels wide."""

    n_mels: int = 80
    vocabulary: int = 29
    width: int = 512
    heads: int = 8
    blocks: int = 6
    phones: int = len(PHONES) + 1  # outputs of the phone head: the blank is behind the phones
    phone_block: int = 4  # blocks before the phone head
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_whole(self, "n_mels", most=1_024)
        require_whole(self, "width", "heads", most=16_384)
        require_whole(self, "phones", least=len(PHONES) + 1, most=16_384)
        require_whole(self, "vocabulary", most=MOST_TOKENS)
        require_whole(self, "blocks", most=64)
        require_whole(self, "phone_block", most=self.blocks)
        require_number(self, "dropout", least=0, most=1)
        if self.width % (2 * self.heads):
            raise ValueError(f"width is {self.width}; it must be a multiple of twice the number of heads, {self.heads}.")


class Dropout(nn.Module):
    """Zeros a part of the values and scales the others up; all utterances of a batch lose the same ones.

    Each of them has its values dropped as independently as by nn.Dropout, which on a CPU spends a sixth of a training step
    on drawing, in one thread.
    """

    def __init__(self, part: float) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        if not self.training or not self.part:
            return x
        return x * F.dropout(torch.ones_like(x[:1]), self.part)  # (1, T, D)


class Block(nn.Module):
    """A pre-norm block of Whisper's: attention over all frames, then a feed-forward layer, each with a skip."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(
            width, 3 * width
        )  # Whisper's key has no bias: it is zero where its weights come from
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, T, D), mask (B, T), True where a frame is real -> (B, T, D)."""
        x = x + self.dropout(self.output(self.attend(self.attention_norm(x), mask)))
        return x + self.dropout(self.contract(F.gelu(self.expand(self.norm(x)))))

    def attend(self, x: Tensor, mask: Tensor) -> Tensor:
        """Scaled dot-product attention of all heads; padded frames are not looked at. x (B, T, D) -> (B, T, D)."""
        batch, frames, width = x.shape
        qkv = self.query_key_value(x).view(batch, frames, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D / H)
        if self.training and frames < FUSED_FROM:
            bias = (~mask * -1e4).to(query.dtype)[:, None, None]  # (B, 1, 1, T); not -inf: an empty row stays finite
            with torch.autocast(x.device.type, enabled=False):  # which would take the softmax to float32 and back
                scores = (query * (width // self.heads) ** -0.5) @ key.transpose(-1, -2) + bias  # (B, H, T, T)
                mixed = scores.softmax(-1) @ value  # (B, H, T, D / H)
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])  # (B, H, T, D / H)
        return mixed.transpose(1, 2).reshape(batch, frames, width)


class NearBlock(nn.Module):
    """Norm, a linear map of three neighbouring frames, GELU, linear, and a skip: a width-3 convolution as one product."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(3 * width, 2 * width)
        self.contract = nn.Linear(2 * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, T, D), mask (B, T) -> (B, T, D)."""
        normed = F.pad(self.norm(x) * mask[..., None], (0, 0, 1, 1))  # (B, T + 2, D); past the end zero, padded or not
        neighbours = torch.cat([normed[:, :-2], normed[:, 1:-1], normed[:, 2:]], dim=-1)  # (B, T, 3D)
        return x + self.dropout(self.contract(F.gelu(self.expand(neighbours))))


def positions(frames: int, width: int, like: Tensor) -> Tensor:
    """Whisper's sinusoids (T, D): sines at D / 2 wavelengths from 2 pi to 20,000 pi frames, then the cosines."""
    frequencies = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2, device=like.device))  # (D / 2,)
    angles = torch.arange(frames, device=like.device)[:, None] * frequencies  # (T, D / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class WhisperCTC(Encoder):
    subsampling = 4
    # Trained on clips of some 15 s, which it reads better than longer ones: 60 s in windows of 15 to 24 s make 0.31 to 0.33
    # WER where the clips alone make 0.32, and in one piece 0.77. With less context words at the seams are lost.
    window, context = 1_600, 400
    pretrained = ("conv1", "conv2", "blocks")  # Whisper's final norm serves its decoder, and begins anew as the head's

    def __init__(self, config: WhisperCTCConfig) -> None:
        super().__init__()
        self.config = config
        self.phones = config.phones
        width = config.width
        self.conv1 = nn.Conv1d(config.n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(Block(width, config.heads, config.dropout) for _ in range(config.blocks))
        self.phone_norm = nn.LayerNorm(width)
        self.phone_head = nn.Linear(width, config.phones)
        self.norm = nn.LayerNorm(width)
        self.head_conv = nn.Conv1d(width, width, 7, stride=2, padding=3)
        self.head_blocks = nn.ModuleList(NearBlock(width, config.dropout) for _ in range(2))
        self.head_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.vocabulary)

    def output_lengths(self, lengths: Tensor | int) -> Tensor | int:
        return strided_length(strided_length(lengths))

    def forward(self, features: Tensor, lengths: Tensor) -> Encoded:
        mask = frame_mask(lengths, features.shape[-1])[:, None]  # (B, 1, T)
        x = features[:, 0].masked_fill(~mask, 0.0)  # (B, M, T)
        x = F.gelu(self.conv1(x)) * mask  # (B, D, T)
        lengths = strided_length(lengths)
        x = F.gelu(self.conv2(x)).transpose(1, 2)  # (B, T / 2, D)
        mask = frame_mask(lengths, x.shape[1])  # (B, T / 2)
        x = (x + positions(x.shape[1], x.shape[2], x)) * mask[..., None]
        for number, block in enumerate(self.blocks, 1):
            x = block(x, mask)
            if number == self.config.phone_block:
                phone_logits = self.phone_head(self.phone_norm(x[:, ::2]))  # (B, T', P)
        x = self.norm(x) * mask[..., None]
        x = F.gelu(self.head_conv(x.transpose(1, 2))).transpose(1, 2)  # (B, T', D)
        lengths = strided_length(lengths)
        mask = frame_mask(lengths, x.shape[1])  # (B, T')
        for near in self.head_blocks:
            x = near(x, mask)
        return Encoded(self.head(self.head_norm(x)), lengths, phone_logits)
