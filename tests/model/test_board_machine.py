"""Random legal histories of a board, with everything that must hold after each of their steps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import networkx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentpool.model import events as ev
from agentpool.model.acceptance import AcceptanceLimits, check_cycle, check_outbox, check_retry
from agentpool.model.errors import MailError
from agentpool.model.mail import Mail, MailType, Priority, Status
from agentpool.model.run import FailureKind
from agentpool.model.task import TaskState
from tests.model.history import History, dumped

if TYPE_CHECKING:
    from agentpool.model.board import Board

_EXPERTS = ("auth", "billing", "frontend")
_MAILBOXES = (*_EXPERTS, "human")
#: How far behind or before the newest id an id is that something waits for: most are there, some are still to come.
_NEAR = st.lists(st.sampled_from([-1, -2, -3, -5, -8, 1, 2]), max_size=2, unique=True)
#: What a run's own mail waits for must be there.
_OLDER = st.lists(st.sampled_from([-1, -2, -4]), max_size=1)


class BoardMachine(RuleBasedStateMachine):
    """What a supervisor, its runs and people may do to a board, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.number = 0

    @property
    def board(self) -> Board:
        """The board as it is now."""
        return self.history.board

    def _in(self, *states: TaskState) -> list[str]:
        return sorted(task.id for task in self.board.tasks.values() if task.state in states)

    def _new_id(self) -> str:
        """The next id; it may be awaited already."""
        self.number += 1
        return f"t{self.number}"

    def _ids(self, near: list[int]) -> tuple[str, ...]:
        return tuple(f"t{self.number + each}" for each in near if self.number + each > 0)

    # -- what people do -----------------------------------------------------------------------------------------------

    @rule(
        to=st.sampled_from(_MAILBOXES),
        after=_NEAR,
        inputs=_NEAR,
        priority=st.sampled_from(list(Priority)),
        expires=st.sampled_from([None, None, 5.0, 10_000.0]),
    )
    def drop_a_task(
        self, to: str, after: list[int], inputs: list[int], priority: Priority, expires: float | None
    ) -> None:
        """Somebody drops a task, unless it would close a cycle."""
        at = None if expires is None else self.history.now + expires
        mail_id = self._new_id()
        depends_on, read = self._ids(after), self._ids(inputs)
        mail = Mail(mail_id, to, priority=priority, depends_on=depends_on, inputs=read, expires=at, body="work")
        try:
            check_cycle(mail, self.board)
        except MailError:
            return
        self.history.receive(mail)

    @rule(to=st.sampled_from(_EXPERTS))
    def drop_a_simple_task(self, to: str) -> None:
        """Somebody drops a task that may start at once."""
        self.history.send(self._new_id(), to=to)

    @rule(to=st.sampled_from(_MAILBOXES))
    def drop_a_note(self, to: str) -> None:
        """Somebody sends a notify; a task may have waited for its id."""
        self.history.note(self._new_id(), to)

    @precondition(lambda self: self.board.tasks)
    @rule(data=st.data(), status=st.sampled_from([None, *Status]))
    def answer(self, data: st.DataObject, status: Status | None) -> None:
        """A person answers any open task."""
        task_id = data.draw(st.sampled_from(sorted(self.board.tasks)))
        self.history.answer(task_id, status, f"answer-{self.board.seq}")

    @precondition(lambda self: self.board.tasks)
    @rule(data=st.data(), tree=st.booleans())
    def cancel(self, data: st.DataObject, tree: bool) -> None:  # noqa: FBT001 - drawn
        """A person cancels any open task, alone or with its tree."""
        self.history.cancel(data.draw(st.sampled_from(sorted(self.board.tasks))), tree=tree)

    @precondition(lambda self: self.board.settled)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """A person tries a settled task again, where that is allowed."""
        task_id = data.draw(st.sampled_from(sorted(self.board.settled)))
        try:
            check_retry(self.history.mails[task_id], self.board)
        except MailError:
            return
        self.history.retry(task_id)

    # -- what the supervisor does -------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 7.0, 4_000.0]))
    def time_passes(self, seconds: float) -> None:
        """Some of what had to wait need not any more."""
        self.history.now += seconds

    @rule()
    def settle_what_is_due(self) -> None:
        """The supervisor writes the answers that no run will."""
        self.history.settle_due()

    @rule()
    def settle_what_expired(self) -> None:
        """The supervisor answers what came too late."""
        self.history.expire()

    @rule()
    def start_all_that_can(self) -> None:
        """As a supervisor does in each turn of its loop."""
        for _ in _EXPERTS:
            self.start_the_first()

    @rule()
    def start_the_first(self) -> None:
        """A run is started, and takes all notes of its mailbox along."""
        self.history.settle_due()
        busy = {"human", *(task.to for task in self.board.running())}
        task_id = self.history.first(*busy)
        if task_id is not None:
            mailbox = self.board.tasks[task_id].to
            self.history.start(task_id, tuple(self.board.notes.get(mailbox, ())))
            assert not self.board.notes.get(mailbox)

    @precondition(lambda self: self._in(TaskState.RUNNING))
    @rule(
        data=st.data(),
        step=st.sampled_from([step for step in ev.Step if step is not ev.Step.DELEGATE]),
        failure=st.sampled_from([FailureKind.TRANSIENT, FailureKind.CHECK]),
        pause=st.sampled_from([None, 0.0, 3.0, 3_000.0]),
    )
    def settle_a_run(self, data: st.DataObject, step: ev.Step, failure: FailureKind, pause: float | None) -> None:
        """A run ends that sent nothing."""
        task_id = data.draw(st.sampled_from(self._in(TaskState.RUNNING)))
        wanted = None if step is ev.Step.DONE else failure
        not_before = None if pause is None else self.history.now + pause
        self.history.end(task_id, step, failure=wanted, not_before=not_before, cost_usd=0.5)

    @precondition(lambda self: self._in(TaskState.RUNNING))
    @rule(
        data=st.data(),
        sent=st.lists(st.tuples(st.sampled_from(_EXPERTS), _OLDER, st.booleans()), min_size=1, max_size=3),
    )
    def settle_a_run_that_sends(self, data: st.DataObject, sent: list[tuple[str, list[int], bool]]) -> None:
        """A run ends with an outbox, which is refused as a whole where it breaks a rule."""
        task_id = data.draw(st.sampled_from(self._in(TaskState.RUNNING)))
        outbox = [
            Mail(self._new_id(), to, depends_on=self._ids(near), body="a part")
            if is_task
            else Mail(self._new_id(), to, MailType.NOTIFY, body="a note")
            for to, near, is_task in sent
        ]
        task = self.board.tasks[task_id]
        try:
            check_outbox(outbox, task, self.board, _MAILBOXES, AcceptanceLimits(hops=99))
        except MailError:
            self.history.end(task_id, ev.Step.RETRY, failure=FailureKind.CHECK)
            return
        step = ev.Step.DELEGATE if any(mail.type.is_work for mail in outbox) else ev.Step.DONE
        self.history.end(task_id, step, *outbox)

    @rule()
    def forget(self) -> None:
        """Forgetting what was settled before the pool began changes nothing but the sequence number."""
        assert not self.board.holds_older(0.0)
        before = dumped(self.board)
        self.history.apply(ev.HistoryForgotten(0.0))
        # The first line holds the number of the last event.
        assert dumped(self.board)[1:] == before[1:]

    @rule()
    def go_on_from_a_snapshot(self) -> None:
        """The supervisor is started again."""
        self.history.board = self.history.reloaded()

    # -- what holds after each step -----------------------------------------------------------------------------------

    @invariant()
    def each_task_counts_what_it_waits_for(self) -> None:
        """The number that a task keeps is that of its predecessors."""
        for task in self.board.tasks.values():
            assert task.waits == len(self.board.graph.waits_for(task.id)), task

    @invariant()
    def the_graph_holds_what_is_open_and_what_is_awaited(self) -> None:
        """Memory is that of what is open, and nothing waits in a ring."""
        graph = self.board.graph._graph
        assert set(graph) == set(self.board.tasks) | set(self.board.graph.placeholders)
        assert networkx.is_directed_acyclic_graph(graph)
        for placeholder in self.board.graph.placeholders:
            assert not self.board.knows(placeholder)
            assert self.board.graph.dependants(placeholder)

    @invariant()
    def a_task_is_open_or_settled_or_neither(self) -> None:
        """Nothing is settled and still due."""
        assert not set(self.board.tasks) & set(self.board.settled)
        assert set(self.board.due) <= set(self.board.tasks)
        assert all(not task.state.is_settled for task in self.board.tasks.values())

    @invariant()
    def what_waits_is_blocked_and_what_does_not_is_not(self) -> None:
        """A task is ready exactly when nothing is missing."""
        for task in self.board.tasks.values():
            if task.id in self.board.due:
                assert task.state is not TaskState.RUNNING
            elif task.state in (TaskState.BLOCKED, TaskState.DELEGATED):
                assert task.waits > 0
            else:
                assert task.waits == 0

    @invariant()
    def nothing_waits_without_a_reason(self) -> None:
        """Each open task runs, is due, may start (now or at a known time), or waits for something that is seen."""
        self.board.ready.due(self.history.now)
        reachable = set()
        for task in self.board.tasks.values():
            if task.state is TaskState.READY and task.id not in self.board.due:
                first = self.board.ready.first({each.to for each in self.board.tasks.values() if each.to != task.to})
                later = self.board.ready.due(self.history.now)
                assert first is not None or (task.not_before > self.history.now and later is not None)
                reachable.add(task.id)
        for task_id in networkx.topological_sort(self.board.graph._graph):
            stays = self.board.tasks.keys() - self.board.due.keys() - set(self._in(TaskState.RUNNING))
            if task_id not in stays or any(awaited in reachable for awaited in self.board.graph.waits_for(task_id)):
                reachable.add(task_id)
        assert set(self.board.tasks) <= reachable

    @invariant()
    def the_runs_are_those_of_the_running_tasks(self) -> None:
        """One for each mailbox, none without a task."""
        running = self.board.running()
        assert sorted(task.id for task in running) == self._in(TaskState.RUNNING)
        assert len({task.to for task in running}) == len(running)
        assert all((task.run is not None) == (task.state is TaskState.RUNNING) for task in self.board.tasks.values())

    @invariant()
    def a_snapshot_holds_the_whole_board(self) -> None:
        """A board that was written and read is the same, and starts the same task next."""
        reloaded = self.history.reloaded()
        assert dumped(reloaded) == dumped(self.board)
        assert reloaded.ready.due(self.history.now) == self.board.ready.due(self.history.now)
        firsts = [board.ready.first(()) for board in (reloaded, self.board)]
        assert firsts[0] == firsts[1]

    def teardown(self) -> None:
        """At the end the journal alone makes the same board, and every task can come to its end."""
        history = self.history
        assert sorted_lines(dumped(history.replayed())) == sorted_lines(dumped(self.board))
        history.now += 100_000.0
        for _ in range(200):
            history.expire()
            history.settle_due()
            for task_id in self._in(TaskState.RUNNING):
                history.end(task_id)
            busy = [task.to for task in self.board.running()]
            first = history.first(*busy)
            if first is None:
                break
            history.start(first)
        missing = set(self.board.graph.placeholders)
        for task in self.board.tasks.values():
            assert networkx.ancestors(self.board.graph._graph, task.id) & missing
        assert len(self.board.graph._graph) == len(self.board.tasks) + len(missing)


def sorted_lines(lines: list[dict[str, object]]) -> list[str]:
    """The lines of a dump in an order of their own."""
    return sorted(json.dumps(line, sort_keys=True) for line in lines)


BoardMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestBoard = BoardMachine.TestCase
