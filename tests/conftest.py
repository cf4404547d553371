"""One thread, no network, seeded examples; and the clips, encoders and checkpoints of `synthetic`, as fixtures."""

import os
import signal
import subprocess
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test may reach the network
os.environ["OMP_NUM_THREADS"] = "1"  # for the programs that tests start

import pytest
import soundfile as sf
import torch
from hypothesis import settings
from synthetic import RATE, TINY, speech_like, tiny_encoder, tiny_model

LONGEST_S = 5  # of the processor, for what must come soon

torch.set_num_threads(1)
settings.register_profile("ctc-lens", deadline=None, derandomize=True, database=None)
settings.load_profile("ctc-lens")


@pytest.fixture(autouse=True)
def numbers_near_zero():
    """A training that ran in this process before has flushed them to zero, and hypothesis draws them."""
    torch.set_flush_denormal(False)


@pytest.fixture
def clip_path(tmp_path):
    """Two seconds of something like speech."""
    path = tmp_path / "clip.wav"
    sf.write(path, speech_like(2.0), RATE)
    return path


@pytest.fixture(params=sorted(TINY))
def encoder(request):
    """Both encoders in turn, tiny, in eval mode."""
    return tiny_encoder(request.param)


@pytest.fixture
def checkpoint_folder(tmp_path):
    folder = tmp_path / "tiny"
    tiny_model().save(folder)
    return folder


@pytest.fixture
def little_memory():
    """Lets the test have 1 GB beyond what is in use: what wants more fails here, and does not trouble the machine."""
    resource = pytest.importorskip("resource", reason="memory cannot be limited on this system")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 1_000_000_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture
def soon():
    """Lets the test have five seconds of the processor, and a minute of waiting: others may be busy here."""

    def stop(*_):
        raise AssertionError(f"It was not refused within {LONGEST_S} s.")

    before = [signal.signal(each, stop) for each in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    signal.alarm(60)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.alarm(0)
    for each, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
        signal.signal(each, handler)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs `python -m asr_core` with these arguments, in this process -> (exit code, standard output, standard error)."""

    from asr_core import __main__ as program  # here: most tests need no command

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["asr_core", *map(str, arguments)])
        try:
            code = program.main()
        except SystemExit as left:  # argparse
            code = left.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def online(tmp_path):
    """Runs `python -m asr_core` in a process of its own, which may reach the Hub on this machine alone."""
    from hub import hub  # here: most tests need none

    with hub() as (address, models):

        def run(*arguments, token: str = "secret", at: str = address) -> subprocess.CompletedProcess:
            told = {"HF_ENDPOINT": at, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": token}
            command, root = [sys.executable, "-m", "asr_core", *map(str, arguments)], Path(__file__).parent.parent
            return subprocess.run(command, cwd=root, env=os.environ | told, capture_output=True, text=True)

        run.models, run.address = models, address
        yield run
