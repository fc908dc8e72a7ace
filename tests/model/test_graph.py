from __future__ import annotations

from agentpool.model.cycle import find_cycle
from agentpool.model.graph import WaitGraph


def _graph(waits: dict[str, list[str]], missing: tuple[str, ...] = ()) -> WaitGraph:
    graph = WaitGraph()
    for node in waits:
        graph.add(node)
    for node in missing:
        graph.expect(node, 1.0)
    for node, awaited in waits.items():
        for each in awaited:
            graph.wait(node, each)
    return graph


def test_an_arrival_that_is_waited_for_may_close_a_cycle() -> None:
    """The new id waits for one that waits for it."""
    graph = _graph({"b": ["a"]}, missing=("a",))
    assert graph.cycle({"a": ["b"]}) == ["a", "b", "a"]
    assert graph.cycle({"a": ["c"]}) is None


def test_a_cycle_is_named_from_where_it_closes() -> None:
    """What only leads to it is left out."""
    graph = _graph({"b": ["c"], "c": ["a"], "x": ["a"]}, missing=("a",))
    assert graph.cycle({"a": ["ok", "b"]}) == ["a", "b", "c", "a"]


def test_a_task_that_waits_for_itself_is_a_cycle() -> None:
    """However it came to that."""
    assert WaitGraph().cycle({"a": ["a"]}) == ["a", "a"]


def test_a_diamond_is_no_cycle() -> None:
    """Two ways to the same task."""
    graph = _graph({"top": [], "left": ["top"], "right": ["top"], "bottom": ["left", "right"]})
    assert graph.cycle({"last": ["bottom", "top"]}) is None
    assert graph.cycle({"a": ["left"], "b": ["a", "right"]}, parent="bottom") is None


def test_a_child_that_waits_for_its_parent_is_a_cycle() -> None:
    """The parent waits for its children."""
    graph = _graph({"plan": []})
    assert graph.cycle({"child": ["plan"]}, parent="plan") == ["child", "plan", "child"]
    assert graph.cycle({"a": [], "b": ["a"]}, parent="plan") is None


def test_a_child_that_waits_for_what_waits_for_its_parent_is_a_cycle() -> None:
    """At any distance."""
    graph = _graph({"plan": [], "deploy": ["plan"], "report": ["deploy"]})
    cycle = graph.cycle({"a": [], "b": ["report"]}, parent="plan")
    assert cycle == ["b", "report", "deploy", "plan", "b"]


def test_children_may_not_wait_for_each_other_in_a_ring() -> None:
    """An outbox is looked at as a whole."""
    assert WaitGraph().cycle({"a": ["b"], "b": ["a"]}) == ["a", "b", "a"]


def test_a_cycle_is_found_through_ten_thousand_tasks() -> None:
    """The search has no depth at which it ends."""
    names = [f"t{number}" for number in range(10_000)]
    graph = _graph(dict(zip(names, [["start"], *([name] for name in names)], strict=False)), missing=("start",))
    cycle = graph.cycle({"start": [names[-1]]})
    assert cycle is not None
    assert len(cycle) == 10_002


def test_each_id_is_looked_at_once() -> None:
    """Thirty diamonds in a row have a thousand million ways through them."""
    layers = {f"{side}{number}": [f"a{number - 1}", f"b{number - 1}"] for number in range(1, 30) for side in "ab"}
    looked: list[str] = []

    def predecessors(node: str) -> list[str]:
        looked.append(node)
        return layers.get(node, [])

    assert find_cycle(["a29", "b29", "a29"], predecessors) is None
    assert len(looked) == 60


def test_leaving_takes_the_placeholders_that_nobody_else_waits_for() -> None:
    """And tells who waited."""
    graph = _graph({"a": ["x", "y"], "b": ["y", "a"]}, missing=("x", "y"))
    assert graph.leave("a") == ["b"]
    assert set(graph.placeholders) == {"y"}
    assert (graph.waits_for("b"), graph.dependants("y")) == (("y",), ("b",))
    assert (graph.waits_for("a"), graph.dependants("a"), graph.leave("a")) == ((), (), [])
