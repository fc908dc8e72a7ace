"""What an expert knows, read from the files that people keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.pool.founding import ensure_directories
from agentpool.pool.knowledge import read_knowledge
from agentpool.pool.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path


def _write(home: Path, **texts: str) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (home / f"{name}.md").write_text(text)
    return home


def test_missing_files_are_empty(tmp_path: Path) -> None:
    """An expert that has only an identity knows nothing yet."""
    known = read_knowledge(_write(tmp_path / "backend", identity="You own the API."))
    assert (known.identity, known.state, known.errors) == ("You own the API.", "", "")


def test_bytes_that_are_not_utf_8_are_shown_as_such(tmp_path: Path) -> None:
    """A file in another encoding does not keep a run from starting."""
    home = tmp_path / "backend"
    home.mkdir()
    (home / "state.md").write_bytes(b"caf\xe9")
    assert read_knowledge(home).state == "caf�"


def test_a_shared_expert_knows_its_own_and_the_projects_things(tmp_path: Path) -> None:
    """The knowledge that all pools share comes first, then what this project taught."""
    shared = _write(tmp_path / "user", identity="You know the law.", state="GDPR holds.", errors="None yet.")
    overlay = _write(tmp_path / "overlay", state="Here it is about mail.")
    known = read_knowledge(overlay, shared)
    assert known.identity == "You know the law."
    assert known.state == "GDPR holds.\n\n# In this project\n\nHere it is about mail."
    assert known.errors == "None yet."


def test_the_home_of_a_shared_expert_is_its_overlay(tmp_path: Path) -> None:
    """Its inbox and logs lie in `shared-state/`; an expert of the pool's own by that name comes first."""
    layout = Layout(tmp_path / ".agent-pool")
    _write(layout.experts / "own", identity="I am the pool's own.")
    ensure_directories(layout, ["law", "own"], shared=["law", "own"])
    assert layout.inbox("law") == layout.shared_state / "law" / "inbox"
    assert layout.inbox("law").is_dir()
    assert layout.inbox("own") == layout.experts / "own" / "inbox"
