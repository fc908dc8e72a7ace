"""Damage stops a start and names its place; a repair loses nothing that stands before it and deletes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentpool.model.errors import JournalError
from agentpool.pool.journal import Journal
from agentpool.pool.record import seal
from agentpool.pool.repair import repair, salvage

if TYPE_CHECKING:
    from pathlib import Path

AT = 1_795_222_923.0


def contents(directory: Path) -> list[int]:
    """The numbers that the journal comes to."""
    journal, recovery = Journal.open(directory)
    with journal:
        values = [line["n"] for line in recovery.snapshot or ()]
        return values + [record.data["n"] for record in recovery.records]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Segments 1 to 5 with records 1-2, 3-4, 5-6, 7-8 and 9-10; snapshots after 2 and 4."""
    journal, recovery = Journal.open(tmp_path, segment_bytes=150)
    with journal:
        assert list(recovery.records) == []
        for value in range(1, 11):
            journal.append([("counted", {"n": value})], AT)
            if value in (2, 4):
                journal.write_snapshot(({"n": known} for known in range(1, value + 1)), value)
    assert len(list(tmp_path.glob("segment-*"))) == 5
    return tmp_path


def segment(directory: Path, number: int) -> Path:
    """The path of a segment."""
    return directory / f"segment-{number:08d}.jsonl"


def flip(path: Path, line: int) -> int:
    """Flips a bit in the middle of a line, counted from 1; returns the line's offset."""
    lines = path.read_bytes().splitlines(keepends=True)
    offset = sum(map(len, lines[: line - 1]))
    data = bytearray(path.read_bytes())
    data[offset + len(lines[line - 1]) // 2] ^= 4
    path.write_bytes(data)
    return offset


def test_a_sound_journal_needs_no_repair(directory: Path, tmp_path: Path) -> None:
    """Repair of a sound, an empty or a torn journal changes nothing."""
    with segment(directory, 5).open("ab") as file:
        file.write(b"torn")
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert repair(directory) == []
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    (tmp_path / "empty").mkdir()
    assert repair(tmp_path / "empty") == []


@pytest.mark.parametrize(("number", "line", "kept"), [(3, 2, 4), (3, 3, 5), (4, 2, 6), (5, 2, 8)])
def test_damage_with_good_records_behind_it_stops_the_start(directory: Path, number: int, line: int, kept: int) -> None:
    """The error names file, byte, line and command; repair keeps all before, and what was behind can be salvaged."""
    offset = flip(segment(directory, number), line)
    with pytest.raises(JournalError, match=f"segment-0000000{number}.jsonl, byte {offset}, line {line}:") as caught:
        contents(directory)
    assert caught.value.tip == "agentpool doctor --repair"
    assert repair(directory)
    assert contents(directory) == list(range(1, kept + 1))
    salvaged = {record.seq for path in directory.glob("damaged-*") for record in salvage(path)}
    assert salvaged == set(range(kept + 2, 11))


def test_a_repaired_journal_goes_on(directory: Path) -> None:
    """After a repair numbers go on where the kept records end."""
    flip(segment(directory, 4), 2)
    repair(directory)
    journal, recovery = Journal.open(directory)
    with journal:
        list(recovery.records)
        assert journal.append([("counted", {"n": 7})], AT)[0].seq == 7
    assert contents(directory) == list(range(1, 8))


@pytest.mark.parametrize("number", [4, 3])
def test_a_missing_segment_is_damage(directory: Path, number: int) -> None:
    """A gap is named, also right behind the snapshot; repair keeps what stands before it."""
    segment(directory, number).unlink()
    with pytest.raises(JournalError, match="missing"):
        contents(directory)
    assert repair(directory)
    assert contents(directory) == list(range(1, 2 * number - 1))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_damaged_header_alone_costs_nothing(directory: Path, number: int) -> None:
    """A segment without its header stops the start, and gets a new one from what its records say."""
    flip(segment(directory, number), 1)
    with pytest.raises(JournalError, match="byte 0, line 1: the header is unreadable"):
        contents(directory)
    assert repair(directory)
    assert contents(directory) == list(range(1, 11))


@pytest.mark.parametrize("line", [1, 3, 6])
def test_a_damaged_snapshot_falls_back_to_the_one_before(directory: Path, line: int) -> None:
    """Header, item and last line are all guarded; the older snapshot and its segments hold everything."""
    flip(directory / "snapshot-000000000004.jsonl", line)
    with pytest.raises(JournalError, match=r"snapshot-000000000004\.jsonl, byte"):
        contents(directory)
    assert repair(directory)
    assert contents(directory) == list(range(1, 11))
    assert (directory / "damaged-snapshot-000000000004.jsonl").exists()


def test_without_any_snapshot_the_first_record_is_the_beginning(directory: Path) -> None:
    """As long as nothing was pruned, all snapshots together are worth nothing."""
    for path in directory.glob("snapshot-*"):
        flip(path, 1)
    assert repair(directory)
    assert contents(directory) == list(range(1, 11))


def test_where_nothing_is_left_to_begin_from_nothing_is_touched(directory: Path) -> None:
    """A journal without snapshot and first record is never turned into an empty one."""
    segment(directory, 1).unlink()
    for path in directory.glob("snapshot-*"):
        flip(path, 1)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(JournalError, match="nothing to begin from"):
        repair(directory)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_what_the_snapshot_covers_may_be_damaged(directory: Path) -> None:
    """Old records are not needed by a start, so their damage does not stop one."""
    flip(segment(directory, 1), 2)
    flip(segment(directory, 2), 3)
    assert contents(directory) == list(range(1, 11))


def test_unreadable_lines_between_a_lagging_snapshot_are_passed_over(tmp_path: Path) -> None:
    """In a segment that a snapshot covers in part, damage in the covered part is a note, not an error."""
    journal, recovery = Journal.open(tmp_path)
    with journal:
        list(recovery.records)
        journal.append([("counted", {"n": value}) for value in range(1, 7)], AT)
        journal.write_snapshot(({"n": value} for value in range(1, 5)), 4)
    flip(segment(tmp_path, 1), 3)
    journal, recovery = Journal.open(tmp_path)
    with journal:
        assert [record.seq for record in recovery.records] == [5, 6]
        assert "1 unreadable lines" in recovery.notes[0]


def test_a_newer_format_is_left_alone(directory: Path) -> None:
    """A journal of a later version is neither read nor repaired."""
    path = segment(directory, 5)
    path.write_bytes(seal({"segment": 5, "after": 8, "format": 2}))
    for attempt in (contents, repair):
        with pytest.raises(JournalError, match="format 2") as caught:
            attempt(directory)
        assert "version" in (caught.value.tip or "")
