"""What the journal promises while the disk behaves: order, durability of what it returns, places, rotation, pruning."""

from __future__ import annotations

import json
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agentpool.model.errors import JournalError
from agentpool.pool.journal import Journal
from agentpool.pool.record import Place, Record
from agentpool.pool.replay import Replay

if TYPE_CHECKING:
    from pathlib import Path

AT = 1_795_222_923.456789


def opened(
    directory: Path, *, segment_bytes: int = 1 << 20
) -> tuple[Journal, list[dict[str, Any]], list[Record], list[str]]:
    """A journal read to its end, with what it held."""
    journal, recovery = Journal.open(directory, segment_bytes=segment_bytes)
    try:
        lines = list(recovery.snapshot or ())
        return journal, lines, list(recovery.records), recovery.notes
    except JournalError:
        journal.close()
        raise


def contents(directory: Path) -> list[int]:
    """The numbers that the journal comes to: those of its snapshot, then those of its records."""
    journal, lines, records, _ = opened(directory)
    journal.close()
    return [line["n"] for line in lines] + [record.data["n"] for record in records]


def numbers(*values: int) -> list[tuple[str, dict[str, int]]]:
    """Events that carry a number each."""
    return [("counted", {"n": value}) for value in values]


def last_segment(directory: Path) -> Path:
    """The segment that was begun last."""
    return max(directory.glob("segment-*.jsonl"))


def test_a_new_journal_is_empty_and_makes_its_directory(tmp_path: Path) -> None:
    """A journal that is not there is made, holds nothing and begins with record 1."""
    journal, lines, records, notes = opened(tmp_path / "pool" / "journal")
    with journal:
        assert (lines, records, notes, journal.last_seq) == ([], [], [], 0)
        assert [record.seq for record in journal.append(numbers(7, 8), AT)] == [1, 2]


def test_replay_gives_exactly_what_append_returned(tmp_path: Path) -> None:
    """Records come back equal in every field, also where JSON changes a value, at any time and with any text."""
    odd = {"tuple": (1, 2), "keys": {1: None}, "text": 'é\u2028\x00"\\\n', "lone": "\ud800", "deep": [[[{}]]], "": 0.1}
    journal, *_ = opened(tmp_path)
    with journal:
        written = journal.append([("odd", odd), ("empty", {})], AT) + journal.append(numbers(1), 0.1 + 0.2)
    journal, _, records, _ = opened(tmp_path)
    journal.close()
    assert records == written
    assert records[0].at == AT
    assert records[0].data["lone"] == "\ud800"
    assert records[0].data["tuple"] == [1, 2]


def test_a_line_is_readable_by_people_and_other_programs(tmp_path: Path) -> None:
    """A record is one compact line of JSON in UTF-8 with the checksum as its last field."""
    journal, *_ = opened(tmp_path)
    with journal:
        journal.append([("mail.accepted", {"text": "é"})], AT)
    line = last_segment(tmp_path).read_text(encoding="utf-8").splitlines()[1]
    assert line.startswith('{"seq":1,"at":"2026-11-21T01:02:03.456789Z","event":"mail.accepted","text":"é","crc":"')
    assert list(json.loads(line)) == ["seq", "at", "event", "text", "crc"]


@pytest.mark.parametrize(
    "data",
    [{"x": object()}, {"x": float("nan")}, {"seq": 1}, {"crc": "0"}, {"x": {(1, 2): 3}}],
    ids=["object", "nan", "seq", "crc", "key"],
)
def test_an_event_that_cannot_be_written_changes_nothing(tmp_path: Path, data: dict[str, Any]) -> None:
    """One bad event refuses the whole call, and the journal goes on as if it had not been made."""
    journal, *_ = opened(tmp_path)
    with journal:
        with pytest.raises(JournalError, match="event bad cannot be written"):
            journal.append([*numbers(1), ("bad", data)], AT)
        assert journal.append(numbers(2), AT)[0].seq == 1
    assert contents(tmp_path) == [2]


def test_too_deep_a_nesting_is_refused_and_not_found_out_at_the_next_start(tmp_path: Path) -> None:
    """What a replay could not parse never enters the journal."""
    nested: list[Any] = []
    for _ in range(200_000):
        nested = [nested]
    journal, *_ = opened(tmp_path)
    with journal:
        with pytest.raises(JournalError):
            journal.append([("deep", {"x": nested})], AT)
        journal.append(numbers(1), AT)
    assert contents(tmp_path) == [1]


@pytest.mark.parametrize("at", [float("nan"), float("inf"), 1e300])
def test_an_impossible_time_is_refused(tmp_path: Path, at: float) -> None:
    """A time that no calendar has refuses the call and nothing else."""
    journal, *_ = opened(tmp_path)
    with journal, pytest.raises(JournalError):
        journal.append(numbers(1), at)


def test_writing_before_the_replay_has_ended_is_refused(tmp_path: Path) -> None:
    """Nobody appends to a journal whose records were not read, because their numbers are not known."""
    journal, *_ = opened(tmp_path)
    with journal:
        journal.append(numbers(1, 2), AT)
    journal, recovery = Journal.open(tmp_path)
    with journal:
        next(recovery.records)
        with pytest.raises(JournalError, match="read to their end"):
            journal.append(numbers(3), AT)
        list(recovery.records)
        assert journal.append(numbers(3), AT)[0].seq == 3


def test_places_lead_back_to_their_records(tmp_path: Path) -> None:
    """A place stays good over rotation, restart and JSON, and from another thread."""
    journal, *_ = opened(tmp_path, segment_bytes=200)
    with journal:
        written = [journal.append([("mail", {"text": "x" * size})], AT)[0] for size in range(0, 300, 20)]
    assert len(list(tmp_path.glob("segment-*.jsonl"))) > 5
    journal, _, records, _ = opened(tmp_path, segment_bytes=200)
    with journal:
        assert records == written
        assert [journal.read(Place(*json.loads(json.dumps(record.place)))) for record in written] == written
        read: list[Record] = []
        thread = threading.Thread(target=lambda: read.append(journal.read(written[0].place)))
        thread.start()
        thread.join()
        assert read == written[:1]


def test_a_place_that_is_not_a_record_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A wrong, damaged or pruned place is told apart from a record."""
    journal, *_ = opened(tmp_path)
    with journal:
        place = journal.append(numbers(1), AT)[0].place
        with pytest.raises(JournalError, match=f"byte {place.offset + 1}"):
            journal.read(place._replace(offset=place.offset + 1))
        with pytest.raises(JournalError, match="no segment 9"):
            journal.read(place._replace(segment=9))


def test_a_snapshot_shortens_the_start(tmp_path: Path) -> None:
    """After a snapshot a start reads its items and only the records behind it."""
    journal, *_ = opened(tmp_path)
    with journal:
        journal.append(numbers(1, 2, 3), AT)
        journal.write_snapshot(({"n": value, "lone": "\ud800"} for value in (1, 2, 3)), 3)
        journal.append(numbers(4), AT)
    journal, lines, records, _ = opened(tmp_path)
    with journal:
        assert lines == [{"n": value, "lone": "\ud800"} for value in (1, 2, 3)]
        assert [record.seq for record in records] == [4]
        assert (journal.last_seq, journal.snapshot_seq) == (4, 3)


def test_a_snapshot_may_lag_behind_the_records(tmp_path: Path) -> None:
    """A snapshot of an older state is followed by every record that came after that state."""
    journal, *_ = opened(tmp_path)
    with journal:
        journal.append(numbers(1, 2, 3, 4), AT)
        journal.write_snapshot(({"n": value} for value in (1, 2)), 2)
        journal.append(numbers(5), AT)
    assert contents(tmp_path) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("seq", [1, 4])
def test_a_snapshot_of_the_future_or_of_the_past_is_refused(tmp_path: Path, seq: int) -> None:
    """A snapshot covers acknowledged records, and not fewer than the last one."""
    journal, *_ = opened(tmp_path)
    with journal:
        journal.append(numbers(1, 2, 3), AT)
        journal.write_snapshot([], 2)
        with pytest.raises(JournalError, match="can cover records from 2 to 3"):
            journal.write_snapshot([], seq)


def test_a_snapshot_whose_item_cannot_be_written_leaves_no_trace(tmp_path: Path) -> None:
    """The journal goes on with the snapshots it had."""
    journal, *_ = opened(tmp_path)
    with journal:
        journal.append(numbers(1), AT)
        with pytest.raises(JournalError, match="item 2"):
            journal.write_snapshot([{"n": 1}, {"n": object()}], 1)
        assert not [path for path in tmp_path.iterdir() if not path.name.startswith("segment-")]
    assert contents(tmp_path) == [1]


def test_prune_keeps_what_two_snapshots_and_the_readers_need(tmp_path: Path) -> None:
    """Segments go when both kept snapshots cover them and nobody wants to read them; one snapshot keeps everything."""
    journal, *_ = opened(tmp_path)
    with journal:
        places = []
        for seq in (1, 2, 3, 4):
            places.append(journal.append(numbers(seq), AT)[0].place)
            journal.write_snapshot(({"n": value} for value in range(1, seq + 1)), seq)
            if seq == 1:
                assert journal.prune(100) == []
        assert [path.name for path in journal.prune(2)] == [
            "snapshot-000000000001.jsonl",
            "snapshot-000000000002.jsonl",
            "segment-00000001.jsonl",
        ]
        assert [path.name for path in journal.prune(100)] == ["segment-00000002.jsonl", "segment-00000003.jsonl"]
        assert journal.read(places[3]).seq == 4
        with pytest.raises(JournalError, match="no segment 1"):
            journal.read(places[0])
    assert contents(tmp_path) == [1, 2, 3, 4]


def test_reading_along_with_a_living_writer_changes_nothing(tmp_path: Path) -> None:
    """A second process may read the journal at any moment; a torn end is passed over and left where it is."""
    journal, *_ = opened(tmp_path)
    with journal:
        journal.append(numbers(1, 2), AT)
        size = last_segment(tmp_path).stat().st_size
        os.truncate(last_segment(tmp_path), size - 3)
        with Replay.open(tmp_path) as replay:
            assert [record.data["n"] for record in replay.records()] == [1]
            assert "cut off" in replay.notes[0]
        assert last_segment(tmp_path).stat().st_size == size - 3
    with Replay.open(tmp_path / "nowhere") as replay:
        assert replay.snapshot() is None
        assert list(replay.records()) == []


@pytest.mark.parametrize("tail", [b"\x00" * 50, b'{"seq":3,"at"', b"garbage\nmore\n", b"\xff"])
def test_a_torn_end_is_moved_aside_and_said(tmp_path: Path, tail: bytes) -> None:
    """What a killed writer leaves behind the last record is kept in a file of its own, and the journal goes on."""
    journal, *_ = opened(tmp_path)
    with journal:
        journal.append(numbers(1, 2), AT)
    segment = last_segment(tmp_path)
    size = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(tail)
    journal, _, records, notes = opened(tmp_path)
    with journal:
        assert [record.seq for record in records] == [1, 2]
        assert f"last {len(tail)} bytes, from byte {size} on" in notes[0]
        assert str(segment) in notes[0]
        assert (tmp_path / "torn-3.bin").read_bytes() == tail
        assert journal.append(numbers(3), AT)[0].seq == 3
    assert contents(tmp_path) == [1, 2, 3]


def delete_everything(pool: Path) -> None:
    """As `git clean -fdx` in the pool."""
    for path in pool.iterdir():
        shutil.rmtree(path)


def delete_the_journal(pool: Path) -> None:
    """As `rm -rf journal`."""
    shutil.rmtree(pool / "journal")


def empty_the_journal(pool: Path) -> None:
    """As `rm journal/*`."""
    for path in (pool / "journal").iterdir():
        path.unlink()


def delete_an_old_segment(pool: Path) -> None:
    """As a careless tidying up."""
    min((pool / "journal").glob("segment-*")).unlink()


def delete_the_snapshot(pool: Path) -> None:
    """As above."""
    max((pool / "journal").glob("snapshot-*")).unlink()


def move_the_journal(pool: Path) -> None:
    """As `mv journal elsewhere`."""
    (pool / "journal").rename(pool.parent / "elsewhere")


def replace_the_journal(pool: Path) -> None:
    """As `git stash` or a restored backup: other files under the same names."""
    copy = pool / "copy"
    shutil.copytree(pool / "journal", copy)
    shutil.rmtree(pool / "journal")
    copy.rename(pool / "journal")


@pytest.mark.parametrize(
    "delete",
    [
        delete_everything,
        delete_the_journal,
        empty_the_journal,
        delete_an_old_segment,
        delete_the_snapshot,
        move_the_journal,
        replace_the_journal,
    ],
)
def test_a_journal_deleted_under_its_writer_is_written_anew(tmp_path: Path, delete: Any) -> None:
    """Whatever somebody removes, the next append puts back, says so, and old places stay good."""
    pool = tmp_path / ".agent-pool"
    journal, *_ = opened(pool / "journal", segment_bytes=150)
    with journal:
        written = [journal.append(numbers(value), AT)[0] for value in range(1, 7)]
        journal.write_snapshot(({"n": value} for value in range(1, 7)), 6)
        written += journal.append(numbers(7), AT)
        delete(pool)
        written += journal.append(numbers(8), AT)
        assert "nothing is lost" in journal.notes[0]
        assert [journal.read(record.place) for record in written] == written
        assert not journal.restore()
        written += journal.append(numbers(9), AT)
        assert len(journal.notes) == 1
    assert contents(pool / "journal") == list(range(1, 10))


def test_a_pool_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    """Whoever removes the whole pool means it: the journal does not come back without it."""
    pool = tmp_path / ".agent-pool"
    journal, *_ = opened(pool / "journal")
    with journal:
        journal.append(numbers(1), AT)
        shutil.rmtree(pool)
        with pytest.raises(JournalError, match="could not be written anew"):
            journal.append(numbers(2), AT)
    assert not pool.exists()


def test_an_idle_writer_can_put_its_journal_back(tmp_path: Path) -> None:
    """`restore` does without an append what an append does."""
    journal, *_ = opened(tmp_path / "journal")
    with journal:
        journal.append(numbers(1), AT)
        assert not journal.restore()
        shutil.rmtree(tmp_path / "journal")
        assert journal.restore()
    assert contents(tmp_path / "journal") == [1]


def test_bytes_that_somebody_else_appended_are_void(tmp_path: Path) -> None:
    """What the writer did not acknowledge does not count, even if it looks like a record."""
    journal, *_ = opened(tmp_path / "journal")
    other, *_ = opened(tmp_path / "other")
    with journal, other:
        for one in (journal, other):
            one.append(numbers(1), AT)
        size = last_segment(tmp_path / "other").stat().st_size
        other.append(numbers(666), AT)
        with last_segment(tmp_path / "journal").open("ab") as file:
            file.write(last_segment(tmp_path / "other").read_bytes()[size:])
        journal.append(numbers(2), AT)
        assert "did not write" in journal.notes[0]
    assert contents(tmp_path / "journal") == [1, 2]


def test_a_segment_that_somebody_cut_is_said(tmp_path: Path) -> None:
    """Acknowledged bytes that are gone stop the append with the command that repairs."""
    journal, *_ = opened(tmp_path)
    with journal:
        journal.append(numbers(1), AT)
        os.truncate(last_segment(tmp_path), 10)
        with pytest.raises(JournalError, match="acknowledged records are gone") as caught:
            journal.append(numbers(2), AT)
        assert caught.value.tip == "agentpool doctor --repair"
