"""The page as a Hugging Face Space: the README's recipe uploads what it needs, and it starts from that alone, offline."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest
from actions import EXAMPLES, visitor, wait_for_words
from huggingface_hub.utils import filter_repo_objects

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECIPE = re.search(r"```python\n(from huggingface_hub import HfApi\n.*?)```", README, re.DOTALL)[1]


class Recorder:
    """In HfApi's place: keeps what it is asked to do."""

    asked: dict = {}

    def create_repo(self, *_, **options):
        self.asked["create"] = options

    def upload_folder(self, **options):
        self.asked["upload"] = options


@pytest.fixture
def uploaded(monkeypatch) -> list[str]:
    """The files that the README's recipe uploads, of those that are in the repository or were made beside them."""
    monkeypatch.setattr(huggingface_hub, "HfApi", Recorder)
    exec(compile(RECIPE, "README.md", "exec"), {})
    options = Recorder.asked["upload"]
    assert options["repo_type"] == Recorder.asked["create"]["repo_type"] == "space"
    there = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file() and ".git" not in path.parts]
    return list(
        filter_repo_objects(there, allow_patterns=options["allow_patterns"], ignore_patterns=options["ignore_patterns"])
    )


def environment(**more: str) -> dict[str, str]:
    """Of a Space, with every way out of the machine closed."""
    closed = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | closed | {"NO_PROXY": "127.0.0.1,localhost", "SPACE_ID": "somebody/ctc-lens", "HF_HUB_OFFLINE": "1"} | more


def test_the_recipe_uploads_no_file_that_a_space_does_not_need(uploaded):
    size = sum((ROOT / name).stat().st_size for name in uploaded)
    assert size < 30e6
    assert "checkpoints/language_model.safetensors" in uploaded
    assert not [name for name in uploaded if re.search(r"__pycache__|^tests|^runs|^docs|^train\.py", name)]


def test_it_starts_from_the_uploaded_files_alone_without_a_network(uploaded, tmp_path, browser, transcriber):
    for name in uploaded:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = environment(
        GRADIO_SERVER_PORT=port, GRADIO_SERVER_NAME="127.0.0.1", GRADIO_TEMP_DIR=str(tmp_path / "temporary")
    )
    with subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path, env=settings, stdout=-1, stderr=-2, text=True) as space:
        try:
            wait_for_port(port, space)
            with visitor(browser, f"http://127.0.0.1:{port}") as tab:
                tab.get_by_role("button", name=" ".join(EXAMPLES[0].text.split()[:4])).click()
                wait_for_words(tab, transcriber.transcribe(EXAMPLES[0].path, "greedy").text.split())
        finally:
            space.terminate()
        assert "Traceback" not in space.stdout.read()


def wait_for_port(port: str, process: subprocess.Popen) -> None:
    for _ in range(600):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", int(port))) == 0:
                return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    raise AssertionError("the page did not start within a minute")


@pytest.mark.parametrize("there", [True, False])
def test_zero_gpu_finds_the_function_that_it_asks_for_and_is_absent_elsewhere(tmp_path, there):
    """`spaces` is there on ZeroGPU alone, must be imported before torch, and refuses a Space without a GPU function."""
    if there:
        package = (
            "import sys\nassert 'torch' not in sys.modules\nfound = []\ndef GPU(task): found.append(task); return task\n"
        )
        (tmp_path / "spaces.py").write_text(package)
    look = "import sys, app; spaces = sys.modules.get('spaces'); print(spaces and [task.__name__ for task in spaces.found])"
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, env=environment(PYTHONPATH=str(tmp_path)), capture_output=True, text=True
    )
    assert done.stdout.strip() == ("['on_gpu']" if there else "None"), done.stderr
