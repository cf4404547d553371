"""Mixed traffic for three minutes: what python tests/soak.py does for thirty."""

from soak import soak

from asr_core import DEFAULT_CHECKPOINT


def test_nothing_grows():
    soaked = soak(3.0, str(DEFAULT_CHECKPOINT))
    assert len(soaked.log.answers) > 50
    assert soaked.complaints() == []
