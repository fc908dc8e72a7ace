"""Any order of appends, snapshots, prunings, restarts and damage: recovery is right, or says what is wrong and repairs.

The model is the list of numbers that were appended. A snapshot holds them all up to its record.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentpool.model.errors import JournalError
from agentpool.pool.journal import Journal
from agentpool.pool.record import Place, seal, seal_record, unseal, unseal_record
from agentpool.pool.repair import repair

AT = 1_795_222_923.0

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
fields = st.dictionaries(st.text().filter(lambda name: name not in {"seq", "at", "event", "crc"}), values, max_size=6)


@given(fields)
def test_a_sealed_line_opens_to_what_was_sealed(data: dict[str, Any]) -> None:
    """Whatever JSON can hold comes back, and the line holds exactly one newline, at its end."""
    line = seal(data)
    assert unseal(line) == data
    assert line.count(b"\n") == 1


@given(
    fields,
    st.text(alphabet=st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010, exclude_categories=())),
    st.floats(min_value=0, max_value=2**33),
)
def test_any_text_and_time_can_be_a_record(data: dict[str, Any], text: str, at: float) -> None:
    """Lone surrogates too; what a replay gives is stable: written again it gives the same."""
    line = seal_record(1, at, "event", {**data, "text": text})
    record = unseal_record(line, Place(1, 0, len(line)))
    assert record.at == pytest.approx(at, abs=2e-6)
    again = seal_record(1, record.at, "event", record.data)
    assert unseal_record(again, record.place) == record


@given(fields, st.data())
def test_no_flipped_bit_goes_unseen(data: dict[str, Any], choice: st.DataObject) -> None:
    """One wrong bit anywhere makes a line unreadable."""
    line = bytearray(seal(data))
    bit = choice.draw(st.integers(0, len(line) * 8 - 1))
    line[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match=r"the line|the checksum"):
        unseal(bytes(line))


class JournalMachine(RuleBasedStateMachine):
    """A journal under use and abuse, beside a list that cannot be damaged."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="agentpool-journal-"))
        self.directory = self.home / "journal"
        self.model: list[int] = []
        self.places: dict[int, Place] = {}
        self.next = 1
        self.pruned = False
        self.damaged = False
        self.snapshots_since: set[int] = set()
        self.journal: Journal | None = None

    def teardown(self) -> None:
        """Leaves nothing behind."""
        if self.journal:
            self.journal.close()
        shutil.rmtree(self.home)

    @property
    def open_journal(self) -> Journal:
        """The journal, which every rule leaves open."""
        assert self.journal is not None
        return self.journal

    def start(self) -> list[int]:
        """Opens the journal and takes what it holds for the model."""
        if self.journal:
            self.journal.close()
        self.journal, recovery = Journal.open(self.directory, segment_bytes=500)
        found = [line["n"] for line in recovery.snapshot or ()]
        for record in recovery.records:
            found.append(record.data["n"])
            self.places[record.seq] = record.place
        return found

    def seqs_from(self, segment: int, offset: int) -> int:
        """The first record whose line does not end before a place; one after the last where there is none."""
        behind = (
            seq
            for seq, place in self.places.items()
            if seq <= len(self.model) and (place.segment, place.offset + place.length) > (segment, offset)
        )
        return min(behind, default=len(self.model) + 1)

    def recover_from_damage(self, at_least: int) -> None:
        """Starts, repairing where that is asked for; all before the damage is there, and nothing that never was."""
        try:
            found = self.start()
        except JournalError as error:
            assert error.tip == "agentpool doctor --repair"  # noqa: PT017 - either outcome is right
            before = sum(path.stat().st_size for path in self.directory.iterdir())
            assert repair(self.directory)
            after = sum(path.stat().st_size for path in self.directory.iterdir())
            assert after >= before
            assert repair(self.directory) == []
            found = self.start()
        assert found == self.model[: len(found)]
        assert len(found) >= at_least
        self.damaged = True
        self.snapshots_since.clear()
        self.model = found

    @initialize()
    def begin(self) -> None:
        """An empty journal."""
        assert self.start() == []

    @rule(count=st.integers(0, 5), size=st.sampled_from([0, 3, 200]))
    def append(self, count: int, size: int) -> None:
        """A batch; its records are numbered without a gap, and can be read back."""
        batch = list(range(self.next, self.next + count))
        self.next += count
        records = self.open_journal.append([("counted", {"n": value, "x": "é" * size}) for value in batch], AT)
        assert [record.seq for record in records] == list(range(len(self.model) + 1, len(self.model) + 1 + count))
        assert [self.open_journal.read(record.place) for record in records] == records
        self.places |= {record.seq: record.place for record in records}
        self.model += batch

    @rule(lag=st.integers(0, 3))
    def snapshot(self, lag: int) -> None:
        """A snapshot, of now or of a little before."""
        seq = max(self.open_journal.snapshot_seq, len(self.model) - lag)
        self.open_journal.write_snapshot(({"n": value} for value in self.model[:seq]), seq)
        self.snapshots_since.add(seq)

    @rule(back=st.integers(0, 20))
    def prune(self, back: int) -> None:
        """Old files go; what two snapshots need stays."""
        self.pruned = bool(self.open_journal.prune(len(self.model) - back)) or self.pruned

    @rule()
    def restart(self) -> None:
        """A start without damage finds the model."""
        assert self.start() == self.model

    @rule(name=st.integers(0, 20))
    def delete_under_the_writer(self, name: int) -> None:
        """A file, or everything, is deleted while the journal is open: the next call puts it back."""
        files = sorted(self.directory.iterdir())
        if name < len(files):
            files[name].unlink()
        else:
            shutil.rmtree(self.directory)
        self.open_journal.restore()

    @rule(share=st.floats(0, 1))
    def cut_the_tail(self, share: float) -> None:
        """The last segment is cut anywhere, as by a crash or a person."""
        segments = sorted(self.directory.glob("segment-*"))
        if not segments:
            return
        self.open_journal.close()
        self.journal = None
        size = int(segments[-1].stat().st_size * share)
        os.truncate(segments[-1], size)
        self.recover_from_damage(self.seqs_from(int(segments[-1].stem[8:]), size) - 1)

    @precondition(lambda self: self.model)
    @rule(choice=st.data())
    def flip_a_bit(self, choice: st.DataObject) -> None:
        """One bit in a segment or a snapshot changes; a snapshot only where there is another way to begin."""
        snapshots = sorted(self.directory.glob("snapshot-*"))
        other_way = len(self.snapshots_since) > 1 or not (self.damaged or self.pruned)
        files = sorted(self.directory.glob("segment-*")) + (snapshots if other_way else [])
        path = choice.draw(st.sampled_from(files))
        offset = choice.draw(st.integers(0, path.stat().st_size - 1))
        data = bytearray(path.read_bytes())
        data[offset] ^= 1 << choice.draw(st.integers(0, 7))
        self.open_journal.close()
        self.journal = None
        path.write_bytes(data)
        whole = len(self.model)
        in_segment = path.name.startswith("segment-")
        self.recover_from_damage(self.seqs_from(int(path.stem[8:]), offset) - 1 if in_segment else whole)

    @invariant()
    def the_journal_knows_its_end(self) -> None:
        """The last seq is the length of the model, as every record carries one number."""
        if self.journal:
            assert self.journal.last_seq == len(self.model)


JournalMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestJournalMachine = JournalMachine.TestCase
