"""The tab "Doctor" in Chromium: files that are healthy, sick, and no files at all; the calculators."""

import io
import pickle

import numpy as np
import pytest
import torch
from actions import assert_accessible, field, open_tab, visitor
from playwright.sync_api import TimeoutError
from safetensors.numpy import save

from asr_core.doctor import RULES, diagnose
from asr_core.doctor.calculators import feasibility, initial_loss, layers_of, output_length
from asr_core.doctor.reading import read


def batch(seed: int = 0) -> dict[str, np.ndarray]:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(60, 2, 12, generator=draw)
    return {
        "log_probs": logits.log_softmax(-1).numpy(),
        "targets": torch.randint(1, 12, (2, 9), generator=draw).numpy(),
        "input_lengths": np.array([60, 50]),
        "target_lengths": np.array([9, 7]),
        "blank": np.array(0),
    }


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.fixture
def doctor(tab):
    open_tab(tab, "Doctor")
    field(tab, "Two lines of Python").wait_for()
    return tab


def report(tab):
    return tab.locator("#report")


def give(tab, name: str, content: bytes) -> None:
    chooser = tab.locator(".tabs input[type=file]").last
    chooser.set_input_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})


def test_the_two_lines_run_in_a_script_of_ones_own(doctor, capsys):
    made = batch()
    exec(field(doctor, "Two lines of Python").input_value(), made | {"torch": torch})
    assert capsys.readouterr().out.startswith("Healthy: 2 utterances")


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_healthy_batch_is_called_healthy_with_its_numbers(doctor, kind):
    made = batch()
    give(doctor, f"batch.{kind}", npz(**made) if kind == "npz" else save({k: np.atleast_1d(v) for k, v in made.items()}))
    report(doctor).get_by_text("Healthy: 2 utterances, nothing found.").wait_for()
    shown = report(doctor).inner_text()
    for name, value in diagnose(**made).figures:
        assert name in shown and " ".join(value.split()) in shown
    assert "Rule 26" in shown and "needs model=" in shown


def test_a_sick_batch_gets_findings_with_links(doctor):
    made = batch()
    made["log_probs"] = np.exp(made["log_probs"])
    give(doctor, "batch.npz", npz(**made))
    (finding,) = diagnose(**made).findings
    report(doctor).get_by_role("heading", name=f"Error: {finding.name}").wait_for()
    for told in (finding.evidence, finding.effect, finding.fix, RULES[1].documentation):
        report(doctor).get_by_text(told).wait_for()
    assert report(doctor).get_by_role("link").get_attribute("href") == finding.link


def test_the_example_is_sick_and_can_be_taken_home(doctor, tmp_path):
    doctor.get_by_role("button", name="Try it on a sick batch").click()
    report(doctor).get_by_text("Softmax in place of log_softmax").wait_for()
    with doctor.expect_download() as download:
        doctor.locator(".tabs a[download]").first.click()
    taken = tmp_path / "sick.npz"
    download.value.save_as(taken)
    assert [finding.rule for finding in diagnose(**read(taken)).findings] == [1]


class Dangerous:
    """What a pickle runs when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_refused_and_never_opened(doctor, tmp_path):
    trap = tmp_path / "opened"
    made = batch() | {"targets": np.array([Dangerous(trap)], dtype=object)}
    give(doctor, "batch.npz", npz(**made))
    report(doctor).get_by_text("never unpickled").wait_for()
    give_again(doctor, "model.npz", pickle.dumps(Dangerous(trap)))
    report(doctor).get_by_text("model.npz cannot be examined").wait_for()
    assert not trap.exists()


def give_again(tab, name: str, content: bytes) -> None:
    tab.get_by_label("Clear").last.click()
    tab.locator(".tabs input[type=file]").last.wait_for(state="attached")
    give(tab, name, content)


def test_what_is_no_batch_gets_a_sentence(doctor):
    give(doctor, "notes.txt", b"hello")
    report(doctor).get_by_text("neither .npz (numpy.savez) nor .safetensors").wait_for()
    give_again(doctor, "broken.npz", b"PK\x03\x04 and then nothing")
    report(doctor).get_by_text("broken.npz is damaged").wait_for()
    wrong = batch() | {"target_lengths": np.array([9, 7, 4])}
    give_again(doctor, "shapes.npz", npz(**wrong))
    report(doctor).get_by_text("There are 2 input lengths and 3 target lengths").wait_for()
    assert "Traceback" not in doctor.content()


HTML = "<img src=x onerror=alert(1)>"


def test_html_in_keys_and_file_names_is_text(doctor):
    give(doctor, "**b** [l](x) &lt;i&gt;.npz", npz(**{HTML: np.zeros(1), "[link](https://example.org)": np.zeros(1)}))
    report(doctor).get_by_text(f"it holds {HTML}, [link](https://example.org). Expected").wait_for()
    assert report(doctor).locator("img, i, a").count() == 0
    assert report(doctor).locator("strong").count() == 1, "the name is not Markdown either"


def waits_for(tab, text: str) -> None:
    tab.wait_for_function(
        "text => [...document.querySelectorAll('.tabs textarea')].some(area => area.value === text)",
        arg=text,
    )


def fill(tab, label: str, value: str) -> None:
    """Until the page has asked for its result: a tab that is just opening takes back what is filled in, within 50 ms."""

    def asked(response) -> bool:
        return "queue/join" in response.url and (value or "None") in map(str, response.request.post_data_json["data"])

    for _ in range(30):
        try:
            with tab.expect_response(asked, timeout=2_000):
                field(tab, label).fill(value)
            return
        except TimeoutError:
            continue
    pytest.fail(f"{label}: {value!r} is never asked for")


def test_the_first_loss_follows_its_numbers(doctor):
    for label, value in (("Frames T", "100"), ("Tokens of the text S", "20"), ("Repeats R", "1"), ("Vocabulary V", "30")):
        fill(doctor, label, value)
    expected = initial_loss(100, 20, 1, 30)
    waits_for(doctor, f"{expected.value:.10g} nats\n{expected.formula}\n{expected.verdict}")
    fill(doctor, "Repeats R", "30")
    waits_for(doctor, "repeats is 30; it must be a whole number from 0 to 19.")
    fill(doctor, "Repeats R", "")
    doctor.wait_for_function(
        "[...document.querySelectorAll('.tabs textarea')].some(area => area.value.startsWith('repeats is '))"
    )


def test_the_output_length_follows_its_layers(doctor):
    doctor.get_by_role("tab", name="Output length").click()
    fill(doctor, "Layers", "11 2 5\n5 1 2 2")
    expected = output_length(368, layers_of("11 2 5\n5 1 2 2"))
    waits_for(doctor, f"{expected.value} frames\n{expected.formula}\n{expected.verdict}")
    fill(doctor, "Layers", "11 2 5\nthree")
    waits_for(doctor, "Line 2 is 'three'; expected one to four whole numbers: kernel, stride, padding, dilation.")


def test_a_text_and_the_lengths_of_a_batch_are_weighed(doctor):
    doctor.get_by_role("tab", name="Does the text fit?").click()
    fill(doctor, "The text", "bookkeeper")
    expected = feasibility("bookkeeper", 6)
    waits_for(doctor, f"13 frames needed\n{expected.formula}\n{expected.verdict}")
    doctor.get_by_role("tab", name="Do the lengths fit?").click()
    fill(doctor, "input_lengths", "tensor([40, 30])")
    fill(doctor, "target_lengths", "[12, 31]")
    told = "1 that fit\nT − S of utterance 1, the tightest: 30 − 31 = -1\n1 of 2 targets fit, the others never will."
    waits_for(doctor, told)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_doctor_is_accessible_by_axe(browser, url, theme, width):
    with visitor(browser, f"{url}?__theme={theme}", viewport={"width": width, "height": 1000}) as tab:
        open_tab(tab, "Doctor")
        tab.get_by_role("button", name="Try it on a sick batch").click()
        report(tab).get_by_text("Softmax in place of log_softmax").wait_for()
        tab.get_by_role("button", name="Show all the rules").click()
        tab.locator("#rules").get_by_role("heading", name="28.").wait_for()
        assert tab.locator("#rules h2").count() == len(RULES)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert_accessible(tab, ".tabs")
