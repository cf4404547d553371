"""Small Whispers with random weights, as transformers and as CTranslate2 write them, without either of them."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from asr_core.features import WHISPER
from asr_core.models import WhisperCTC, WhisperCTCConfig
from asr_core.training.config import TrainingConfig

WIDTH, HEADS, BLOCKS, MELS, POSITIONS = 16, 2, 2, 80, 12
TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}
SMALL = WhisperCTCConfig(width=WIDTH, heads=HEADS, blocks=BLOCKS, phone_block=1)


def small_encoder() -> WhisperCTC:
    """That these weights fit, in eval mode."""
    torch.manual_seed(1)
    return WhisperCTC(SMALL).eval()


def small_config(config: TrainingConfig) -> TrainingConfig:
    """A training of such an encoder."""
    encoder = {"name": "whisper_ctc", "width": WIDTH, "heads": HEADS, "blocks": BLOCKS, "phone_block": 1}
    return replace(config, encoder=encoder, features=WHISPER)


def whisper_weights(seed: int = 0) -> dict[str, Tensor]:
    """Of the encoder, and a little of the decoder, in transformers' names, nothing zero or one."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {
        "conv1.weight": (WIDTH, MELS, 3),
        "conv1.bias": (WIDTH,),
        "conv2.weight": (WIDTH, WIDTH, 3),
        "conv2.bias": (WIDTH,),
    }
    shapes |= {"embed_positions.weight": (POSITIONS, WIDTH), "layer_norm.weight": (WIDTH,), "layer_norm.bias": (WIDTH,)}
    for block in range(BLOCKS):
        layer = {
            "fc1.weight": (4 * WIDTH, WIDTH),
            "fc1.bias": (4 * WIDTH,),
            "fc2.weight": (WIDTH, 4 * WIDTH),
            "fc2.bias": (WIDTH,),
        }
        layer |= {f"self_attn.{each}_proj.weight": (WIDTH, WIDTH) for each in ("q", "k", "v", "out")}
        layer |= {f"self_attn.{each}_proj.bias": (WIDTH,) for each in ("q", "v", "out")}
        layer |= {
            f"{norm}.{kind}": (WIDTH,)
            for norm in ("self_attn_layer_norm", "final_layer_norm")
            for kind in ("weight", "bias")
        }
        shapes |= {f"layers.{block}.{name}": shape for name, shape in layer.items()}
    weights = {f"model.encoder.{name}": torch.randn(shape, generator=draw) / 4 for name, shape in shapes.items()}
    return weights | {"model.decoder.embed_tokens.weight": torch.randn(7, WIDTH, generator=draw)}


def hub_config(**changes) -> bytes:
    config = {"model_type": "whisper", "num_mel_bins": MELS, "d_model": WIDTH, "encoder_attention_heads": HEADS}
    return json.dumps({**config, "encoder_layers": BLOCKS, "decoder_layers": 1, **changes}).encode()


def hub_folder(folder: Path, weights: dict[str, Tensor] | None = None, **changes) -> Path:
    """As transformers' save_pretrained leaves it. changes: of config.json."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(hub_config(**changes))
    (folder / "model.safetensors").write_bytes(save_tensors(weights or whisper_weights(), {"format": "pt"}))
    return folder


def ct2_folder(folder: Path, data: bytes | None = None) -> Path:
    """As faster-whisper has it. data: of model.bin."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"alignment_heads": [[0, 0]], "lang_ids": [], "suppress_ids": []}')
    (folder / "model.bin").write_bytes(model_bin() if data is None else data)
    return folder


def variables(weights: dict[str, Tensor], heads: int = HEADS) -> dict[str, np.ndarray]:
    """CTranslate2's, of which the converter stacks query, key and value, with zeros for the bias that the key has not."""
    own = {name.partition("encoder.")[2]: tensor.float().numpy() for name, tensor in weights.items() if "encoder." in name}
    made = {"encoder/num_heads": np.int16(heads), "decoder/scale_embeddings": np.int8(0)}
    made["encoder/position_encodings/encodings"] = own["embed_positions.weight"]
    for name in ("conv1", "conv2"):
        made |= {f"encoder/{name}/weight": own[f"{name}.weight"], f"encoder/{name}/bias": own[f"{name}.bias"]}
    made |= norm("encoder", own, "layer_norm")
    for block in {int(name.split(".")[1]) for name in own if name.startswith("layers.")}:
        theirs, ours = f"encoder/layer_{block}", f"layers.{block}"
        query, key, value = (own[f"{ours}.self_attn.{each}_proj.weight"] for each in "qkv")
        made[f"{theirs}/self_attention/linear_0/weight"] = np.concatenate([query, key, value])
        biases = [own[f"{ours}.self_attn.q_proj.bias"], np.zeros(len(key), np.float32), own[f"{ours}.self_attn.v_proj.bias"]]
        made[f"{theirs}/self_attention/linear_0/bias"] = np.concatenate(biases)
        for to, source in (
            ("self_attention/linear_1", "self_attn.out_proj"),
            ("ffn/linear_0", "fc1"),
            ("ffn/linear_1", "fc2"),
        ):
            made |= {f"{theirs}/{to}/{kind}": own[f"{ours}.{source}.{kind}"] for kind in ("weight", "bias")}
        made |= norm(f"{theirs}/self_attention", own, f"{ours}.self_attn_layer_norm")
        made |= norm(f"{theirs}/ffn", own, f"{ours}.final_layer_norm")
    if "model.decoder.embed_tokens.weight" in weights:
        made["decoder/embeddings/weight"] = weights["model.decoder.embed_tokens.weight"].float().numpy()
    return made


def norm(theirs: str, own: dict[str, np.ndarray], ours: str) -> dict[str, np.ndarray]:
    return {f"{theirs}/layer_norm/gamma": own[f"{ours}.weight"], f"{theirs}/layer_norm/beta": own[f"{ours}.bias"]}


def quantised(made: dict[str, np.ndarray], kind: str) -> dict[str, np.ndarray | Tensor]:
    """kind: one of CTranslate2's, such as int8_float16. In 8 bits each row of what is called weight has a scale, in 16 bits
    all of it has one."""
    result: dict[str, np.ndarray | Tensor] = {}
    whole, _, rest = kind.partition("_")
    floats = rest or (whole if "float" in whole else "float32")
    for name, array in made.items():
        if array.dtype != np.float32:
            result[name] = array
        elif name.endswith("/weight") and whole == "int8":
            rows = array.reshape(len(array), -1)
            largest = np.abs(rows).max(1)
            scale = 127.0 / np.where(largest == 0, 127.0, largest)
            result[name] = np.rint(rows * scale[:, None]).astype(np.int8).reshape(array.shape)
            result[name + "_scale"] = scale.astype(np.float32)
        elif name.endswith("/weight") and whole == "int16":
            scale = np.float32(2**10 / np.abs(array).max())
            result[name], result[name + "_scale"] = np.rint(array * scale).astype(np.int16), scale
        else:
            result[name] = torch.from_numpy(array).bfloat16() if floats == "bfloat16" else array.astype(floats)
    return result


def text(name: str | bytes) -> bytes:
    raw = name.encode() if isinstance(name, str) else name
    return struct.pack("<H", len(raw) + 1) + raw + b"\0"


def entry(name: str | bytes, array: np.ndarray | Tensor, **claimed) -> bytes:
    """A variable. claimed: in place of its rank, dimensions, type or size."""
    if isinstance(array, Tensor):
        kind, data = str(array.dtype).removeprefix("torch."), array.view(torch.int16).numpy().tobytes()
    else:
        kind, data = array.dtype.name, array.tobytes()
    dimensions = claimed.get("dimensions", tuple(array.shape))
    head = struct.pack("<B", claimed.get("rank", len(dimensions))) + b"".join(struct.pack("<I", each) for each in dimensions)
    return text(name) + head + struct.pack("<BI", claimed.get("type", TYPES[kind]), claimed.get("size", len(data))) + data


def model_bin(
    made: dict[str, np.ndarray | Tensor] | None = None,
    *,
    entries: list[bytes] | None = None,
    count: int | None = None,
    aliases: list[tuple[str | bytes, str | bytes]] | None = None,
    alias_count: int | None = None,
    version: int = 6,
    kind: str | bytes = "WhisperSpec",
    revision: int = 3,
) -> bytes:
    """The file. What is not given is as it should be."""
    made = variables(whisper_weights()) if made is None else made
    entries = [entry(name, array) for name, array in sorted(made.items())] if entries is None else entries
    aliases = [("decoder/projection/weight", "decoder/embeddings/weight")] if aliases is None else aliases
    data = struct.pack("<I", version) + text(kind) + struct.pack("<I", revision)
    data += struct.pack("<I", len(entries) if count is None else count) + b"".join(entries)
    data += struct.pack("<I", len(aliases) if alias_count is None else alias_count)
    return data + b"".join(text(alias) + text(name) for alias, name in aliases)
