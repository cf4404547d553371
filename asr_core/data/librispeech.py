"""LibriSpeech by the names of its subsets, fetched on request."""

from __future__ import annotations

import os
import sys
import tarfile
import zlib
from gzip import BadGzipFile
from pathlib import Path

from tqdm import tqdm

from asr_core.adapters.download import alone, download
from asr_core.data.utterances import DataError, Utterance, read_librispeech
from asr_core.files import OURS, remove

CORPUS = "LibriSpeech"  # the folder in its archives
ARCHIVES = "http://www.openslr.org/resources/12/"
SHA256 = {  # of each archive, as torchaudio.datasets.LIBRISPEECH has them
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
}


def librispeech_subsets(root: Path, subsets: list[str], download: bool) -> list[Utterance]:
    """Utterances of ROOT/LibriSpeech/SUBSET for each subset, such as train-clean-100. Raises DataError.

    download: fetch those that are not there. They stay as ROOT/SUBSET.tar.gz, too.
    """
    utterances: list[Utterance] = []
    for subset in subsets:
        folder = root / CORPUS / subset
        if not folder.is_dir():
            if not download:
                raise DataError(f"There is no folder {folder}. Add --download to fetch {subset}, or name another --data.")
            _fetch(root, subset)
        utterances += read_librispeech(folder)
    return utterances


def _fetch(root: Path, subset: str) -> None:
    if subset not in SHA256:
        raise DataError(f"LibriSpeech has no subset {subset} to fetch. It has: {', '.join(SHA256)}.")
    archive = root / f"{subset}.tar.gz"
    try:
        download(f"{ARCHIVES}{archive.name}", archive, SHA256[subset])
        with alone(root / f"{CORPUS}-{subset}"):
            _unpack(archive, root, subset)
    except (tarfile.TarError, EOFError, BadGzipFile, zlib.error) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}. Delete it, and run the same again to fetch it.") from error
    except OSError as error:
        raise DataError(
            f"LibriSpeech {subset} could not be fetched: {getattr(error, 'reason', error)}. Check the network and the disk, "
            "and run the same again: what has come of it is kept."
        ) from error


def _unpack(archive: Path, root: Path, subset: str) -> None:
    """ROOT/LibriSpeech/SUBSET, which is there only when it is whole: half of it would be trained on without a word."""
    if (root / CORPUS / subset).is_dir():  # another process was first
        return
    half = root / f"{OURS}{subset}"
    remove(half)  # what an interruption left
    with tarfile.open(archive, "r:gz") as files:
        for file in tqdm(files, f"unpacking {archive.name}", unit="file", file=sys.stderr):
            files.extract(file, half, filter="data")
    (root / CORPUS).mkdir(exist_ok=True)
    for each in sorted((half / CORPUS).iterdir(), key=lambda path: path.name == subset):  # the subset is the last
        if not (root / CORPUS / each.name).exists():
            os.rename(each, root / CORPUS / each.name)
    remove(half)
