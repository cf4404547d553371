"""Model cards: where they lie, and the licence in their first lines."""

import pytest

from asr_core.cards import LONGEST_LICENCE, card_of, licence_of

CARDS = {  # README.md -> licence
    "---\nlicense: mit\nlanguage: en\n---\n# Model": "mit",
    "---\nlanguage: en\nlicense:   'cc-by-4.0'  \n---\n": "cc-by-4.0",
    "---\r\nlicense: apache-2.0\r\n---\r\n": "apache-2.0",
    "---\nlanguage: en\n---\nlicense: mit\n": "",
    "# Model\n\nlicense: mit\n": "",
    "---\nlicense:\n- mit\n---\n": "",
    "---\nlicense: mit\n": "",
    f"---\nlicense: {'x' * 999}\n---\n": "x" * LONGEST_LICENCE,
    "": "",
}


@pytest.mark.parametrize("text", CARDS)
def test_the_licence_is_what_the_first_lines_of_a_card_name(text, tmp_path):
    (tmp_path / "README.md").write_bytes(text.encode())
    assert licence_of(tmp_path) == CARDS[text]
    assert card_of(tmp_path) == str(tmp_path / "README.md")


def test_a_folder_without_a_readable_card_names_no_licence(tmp_path):
    assert (card_of(tmp_path), licence_of(tmp_path)) == ("", "")
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xff\n---\n")
    assert licence_of(tmp_path) == ""
