"""Three minutes of mixed traffic; `python tests/soak.py` is the half hour."""

from soak import soak


def test_after_minutes_of_traffic_nothing_has_grown(checkpoint_folder):
    soaked = soak(3.0, str(checkpoint_folder))
    assert len(soaked.log.answers) > 50
    assert soaked.complaints() == [], str(soaked)
