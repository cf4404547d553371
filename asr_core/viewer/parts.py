"""Parts: a long result cut between words into parts that are short enough to be looked at frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, takewhile

from asr_core.tracks import Track
from asr_core.transcription import Transcription
from asr_core.viewer.payload import Lane

LONGEST_S = 300.0


class Parts:
    """The lanes of a recording, part by part. parts[n] are the lanes of part n, from 0; a recording that is no longer than
    LONGEST_S is its only part."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        """lanes: of the whole recording."""
        self.lanes = list(lanes)
        self.cuts_s = cuts_s([lane.reading for lane in lanes], LONGEST_S)

    def __len__(self) -> int:
        return len(self.cuts_s) - 1

    def __getitem__(self, index: int) -> list[Lane]:
        if len(self) == 1:
            return self.lanes
        start_s, end_s = self.cuts_s[index : index + 2]
        emissions, lanes = {}, []
        for lane in self.lanes:
            reading = lane.reading.between(start_s, end_s)
            # Lanes of one emission still have one.
            emission = emissions.setdefault(id(lane.reading.emission), reading.emission)
            part = replace(reading.sound.part, number=index + 1, count=len(self))
            reading = replace(reading, emission=emission, sound=replace(reading.sound, part=part))
            lanes.append(Lane(lane.name, reading))
        return beside(lanes, self.lanes[0].track)


def beside(lanes: Sequence[Lane], track: Track | None) -> list[Lane]:
    """The lanes with a track of the whole recording beside them, or without one; of a part, what is said in it."""
    sound = lanes[0].reading.sound
    if track and sound.part.count > 1:
        track = track.between(sound.start_s, sound.end_s)
    return [replace(lanes[0], track=track), *lanes[1:]]


def beginning(reading: Transcription, longest_s: float) -> Transcription:
    """The reading, or as much of its beginning as lasts no longer, up to the end of a word."""
    start_s, end_s, *_ = cuts_s([reading], longest_s)
    return reading if end_s == reading.sound.end_s else reading.between(start_s, end_s)


def cuts_s(readings: Sequence[Transcription], longest_s: float) -> list[float]:
    """Where parts of at most `longest_s` begin, and the end of the last: in the middle of the longest pause, in which no
    reading has a word, of the last third that a part may have."""
    sound, frame_s = readings[0].sound, readings[0].emission.frame_s
    cuts, pauses = [sound.start_s], _pauses(readings)
    begin = 0
    while sound.end_s - cuts[-1] > longest_s:
        earliest, latest = cuts[-1] + longest_s * 2 / 3, cuts[-1] + longest_s
        while begin < len(pauses) and pauses[begin][1] <= earliest:
            begin += 1
        within = takewhile(lambda pause: pause[0] < latest, islice(pauses, begin, None))  # noqa: B023 - used at once
        clipped = [(max(start_s, earliest), min(end_s, latest)) for start_s, end_s in within]
        found = max(clipped, key=lambda pause: pause[1] - pause[0], default=(latest, latest))
        frames = int((sum(found) / 2 - sound.start_s) / frame_s + 1e-6)  # on the edge of a frame, within the pause
        cuts.append(sound.start_s + frames * frame_s)
    return [*cuts, sound.end_s]


def _pauses(readings: Sequence[Transcription]) -> list[tuple[float, float]]:
    """(start_s, end_s) of all times without a word, by the words' own frames, in order."""
    words = sorted(
        tuple(reading.sound.start_s + frame * reading.emission.frame_s for frame in (word.first, word.last + 1))
        for reading in readings
        for word in reading.words
    )
    sound, pauses, reached = readings[0].sound, [], readings[0].sound.start_s
    for start_s, end_s in [*words, (sound.end_s, sound.end_s)]:
        if start_s > reached:
            pauses.append((reached, start_s))
        reached = max(reached, end_s)
    return pauses
