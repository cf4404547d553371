"""LibriSpeech by the names of its subsets, fetched on request."""

from __future__ import annotations

from pathlib import Path

from asr_core.data.utterances import DataError, Utterance, read_librispeech


def librispeech_subsets(root: Path, subsets: list[str], download: bool) -> list[Utterance]:
    """Utterances of ROOT/LibriSpeech/SUBSET for each subset, such as train-clean-100. Raises DataError."""
    utterances: list[Utterance] = []
    for subset in subsets:
        folder = root / "LibriSpeech" / subset
        if not folder.is_dir():
            if not download:
                raise DataError(f"There is no folder {folder}. Add --download to fetch {subset}, or name another --data.")
            _download(root, subset)
        utterances += read_librispeech(folder)
    return utterances


def _download(root: Path, subset: str) -> None:
    from torchaudio.datasets import LIBRISPEECH  # here, because only --download needs it

    root.mkdir(parents=True, exist_ok=True)
    try:
        LIBRISPEECH(root, url=subset, download=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"LibriSpeech {subset} could not be fetched: {error}. Check the name and the network.") from error
