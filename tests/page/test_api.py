"""The endpoints for programs: what docs/api.md says, as it stands there; and a sentence for whatever they cannot use."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from actions import EXAMPLES

import app
from asr_core import align, diagnose
from asr_core.doctor.example import sick_batch
from asr_core.doctor.reading import read
from asr_core.export import as_dict
from asr_core.page import api

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
CLIP, SENTENCE = EXAMPLES[0].path, "i hope he doesn't work too hard said shaggy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the document's examples find their files."""
    folder = tmp_path_factory.mktemp("somewhere")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "batch.npz").write_bytes(sick_batch())
    return folder


def blocks(language: str, url: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found
    return [block.replace("http://127.0.0.1:7860", url.rstrip("/")) for block in found]


def test_the_documents_python_prints_what_the_library_says(url, folder, transcriber):
    (code,) = blocks("python", url)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    heard = transcriber.transcribe(CLIP)
    figures = align(heard, SENTENCE).summary()
    _, first, *_ = done.stdout.splitlines()  # the client says first where it is
    assert first == heard.text
    for word in heard.as_dict()["words"]:
        assert f"{word['start_s']} {word['end_s']} {word['label']} {word['score']}\n" in done.stdout
    assert f"{figures['loss']} {figures['wer']}\n" in done.stdout
    assert str(diagnose(**read(folder / "batch.npz"))) in done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_documents_curl_gets_what_the_library_says(url, folder, transcriber):
    script = "\n".join(["set -e", *blocks("bash", url)])
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    events = re.findall(r"^event: (\w+)\ndata: (.*)$", done.stdout, re.M)
    answers = [json.loads(data)[0] for name, data in events if name == "complete"]
    reference = align(transcriber.transcribe(CLIP), SENTENCE)
    diagnosis = diagnose(**read(folder / "batch.npz"))
    expected = [transcriber.transcribe(CLIP, "greedy").as_dict(), as_dict(reference.aligned, reference)]
    assert answers[:2] == json.loads(json.dumps(expected))
    assert answers[2] == json.loads(diagnosis.as_json()) | {"report": str(diagnosis)}


def upload(url: str, path: Path) -> dict:
    with open(path, "rb") as file:
        return {"path": httpx.post(f"{url}gradio_api/upload", files={"files": file}).json()[0]}


def refusal(url: str, endpoint: str, **arguments: object) -> str:
    event = httpx.post(f"{url}gradio_api/call/v2/{endpoint}", json=arguments).raise_for_status().json()["event_id"]
    answer = httpx.get(f"{url}gradio_api/call/{endpoint}/{event}", timeout=60).text
    name, data = re.search(
        r"^event: (\w+)\ndata: (.*)$", answer.replace("event: heartbeat\ndata: null\n", ""), re.M
    ).groups()
    assert name == "error"
    return json.loads(data)["error"]


@pytest.mark.parametrize("endpoint", ["transcribe", "align", "diagnose"])
@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (None, "There is no file. Upload one first"),
        ("/etc/passwd", "There is no file. Upload one first"),
        ({"path": 7}, "There is no file. Upload one first"),
        ({"path": "/etc/passwd"}, "passwd was not uploaded here. Upload it first."),
        ({"path": str(Path(app.__file__))}, "app.py was not uploaded here."),
        ({"path": "https://example.com/speech.wav"}, "speech.wav was not uploaded here."),
        ({"path": "\0"}, "was not uploaded here."),
        ({"path": "x" * 5_000}, "was not uploaded here."),
    ],
)
def test_what_was_not_uploaded_is_nobodys_to_read(url, endpoint, file, sentence):
    assert sentence in refusal(url, endpoint, file=file, **({"text": "a"} if endpoint == "align" else {}))


def test_no_way_leads_out_of_the_folder_of_uploads(url, tmp_path):
    inside = Path(upload(url, CLIP)["path"])
    (inside.parent / "link.mp3").symlink_to(Path(app.__file__))
    for path in (
        inside.parent / "link.mp3",
        inside.parent / ".." / ".." / ".." / "secret.wav",
        os.environ["GRADIO_TEMP_DIR"],
    ):
        assert "was not uploaded here" in refusal(url, "transcribe", file={"path": str(path)})


def test_whatever_else_cannot_be_used_gets_a_sentence(url, tmp_path):
    speech = upload(url, CLIP)
    (tmp_path / "letter.wav").write_text("Dear aunt,\n" * 100)
    assert "There is no file" in refusal(url, "transcribe")
    assert refusal(url, "transcribe", file=speech, decoder="best") == "There is no decoder 'best'. There are: greedy, beam."
    assert "letter.wav is not a WAV file" in refusal(url, "transcribe", file=upload(url, tmp_path / "letter.wav"))
    assert refusal(url, "align", file=speech) == "There is nothing to align: the text is empty."
    assert "lacks “é”. Nearest spelling: cafe" in refusal(url, "align", file=speech, text="café")
    assert "too long for the audio" in refusal(url, "align", file=speech, text="shaggy " * 100)
    for text in (7, None, "a" * (api.LONGEST_TEXT + 1)):
        assert "at most 2,000 characters" in refusal(url, "align", file=speech, text=text)
    assert "is neither .npz (numpy.savez) nor .safetensors" in refusal(url, "diagnose", file=speech)


def test_only_these_three_are_offered(client):
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/transcribe", "/align", "/diagnose"]


def test_mcp_is_off_and_says_what_it_needs(url):
    assert httpx.get(f"{url}gradio_api/mcp/").status_code == 404
    code = "import sys; sys.modules['mcp'] = None; sys.argv = ['app.py']; import app; sys.exit(app.main())"
    environment = {**os.environ, "CTC_LENS_MCP": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.endswith('CTC_LENS_MCP is 1, and the package mcp is missing: pip install "gradio[mcp]"\n')
