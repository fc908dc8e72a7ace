from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentpool.model.errors import NoPoolError, UsageError
from agentpool.pool.configuration import Configuration, RoleTable
from agentpool.pool.configuration_file import load
from agentpool.pool.experts import experts_of, misnamed_experts
from agentpool.pool.founding import ensure_directories, found
from agentpool.pool.layout import Layout
from agentpool.pool.starters import identity, protocol
from agentpool.pool.templates import read_template, templates_directory

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty directory that a pool can be founded in."""
    directory = tmp_path / "project"
    directory.mkdir()
    return directory


def _texts(root: Path) -> dict[str, str]:
    return {str(file.relative_to(root)): file.read_text() for file in root.rglob("*") if file.is_file()}


def test_a_founded_pool_can_be_loaded_and_has_its_experts(project: Path, tmp_path: Path) -> None:
    """`found` makes a pool whose settings load without a word and whose experts exist."""
    founded = found(project, ["auth", "web"])
    layout = Layout(project / ".agent-pool")
    loaded = load(layout, tmp_path)
    assert loaded.warnings == ()
    assert experts_of(layout, loaded.configuration) == {"auth", "web"}
    assert founded.kept == ()
    assert {str(file.relative_to(layout.root)) for file in founded.created} == {
        "pool.toml",
        ".gitignore",
        "concierge/identity.md",
        *(
            f"{home}/{file}.md"
            for home in ("architect", "researcher", "experts/auth", "experts/web")
            for file in ("identity", "state", "errors")
        ),
    }


def test_founding_again_changes_nothing_and_adds_what_is_missing(project: Path) -> None:
    """A second call keeps every byte that people wrote, and makes the home of a new expert."""
    found(project, ["auth"])
    root = project / ".agent-pool"
    (root / "pool.toml").write_text("# mine\n")
    (root / "experts/auth/identity.md").write_text("mine")
    (root / "experts/auth/errors.md").unlink()
    before = _texts(root)
    founded = found(project, ["auth", "web"])
    after = _texts(root)
    assert {name: after[name] for name in before} == before
    assert {file.name for file in founded.created if file.parent.name == "auth"} == {"errors.md"}
    assert len([file for file in founded.created if file.parent.name == "web"]) == 3
    assert root / "pool.toml" in founded.kept


def test_an_identity_names_its_expert_and_keeps_the_agents_variables(project: Path) -> None:
    """The template's own places are filled; what the agent reads from its environment stays."""
    found(project, ["auth"])
    text = (project / ".agent-pool/experts/auth/identity.md").read_text()
    assert "the expert `auth`" in text
    assert "`.agent-pool/experts/auth/state.md`" in text
    assert "$AGENTPOOL_OUTBOX/response.md" in text
    assert "$expert" not in text
    assert "$home" not in text


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a b", "human", "architect", "agentpool", "x" * 65])
def test_a_name_that_no_expert_can_have_founds_nothing(project: Path, name: str) -> None:
    """Names are checked before the first directory is made."""
    with pytest.raises(UsageError, match="cannot name an expert"):
        found(project, ["auth", name])
    assert list(project.iterdir()) == []


def test_no_pool_is_founded_where_none_can_be(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a directory that is not there nor the home directory, whose `.agent-pool` is the user's own."""
    with pytest.raises(UsageError, match="is not a directory"):
        found(project / "missing", [])
    monkeypatch.setenv("HOME", str(project))
    with pytest.raises(UsageError, match="cannot be a pool"):
        found(project, [])
    assert list(project.iterdir()) == []


def test_a_file_in_the_way_is_said(project: Path) -> None:
    """A file where a directory must be is named, and left alone."""
    (project / ".agent-pool").write_text("mine")
    with pytest.raises(UsageError, match=r"\.agent-pool cannot be made"):
        found(project, [])
    assert (project / ".agent-pool").read_text() == "mine"


def test_missing_directories_are_made_and_runtime_is_private(project: Path) -> None:
    """Every directory that a supervisor works with is there, and nobody else can look into `run/`."""
    layout = Layout(project / ".agent-pool")
    layout.root.mkdir()
    layout.run.mkdir(mode=0o755)
    made = ensure_directories(layout, ["auth"])
    for directory in (
        layout.postoffice,
        layout.mail,
        layout.archive,
        layout.deadletter,
        layout.journal,
        layout.runs,
        layout.inbox("human"),
        layout.inbox("concierge"),
        layout.inbox("architect"),
        layout.logs("researcher"),
        layout.inbox("auth"),
        layout.logs("auth"),
    ):
        assert directory.is_dir()
        assert directory in made
    assert layout.run.stat().st_mode & 0o777 == 0o700
    assert ensure_directories(layout, ["auth"]) == ()


def test_directories_are_made_only_in_a_pool(project: Path) -> None:
    """A wrong path is no reason to make a pool there."""
    with pytest.raises(NoPoolError):
        ensure_directories(Layout(project / ".agent-pool"), [])
    assert list(project.iterdir()) == []


def test_an_expert_exists_by_its_name_or_its_identity(project: Path) -> None:
    """`pool.toml` or `identity.md` makes an expert; an inbox alone, or a name that cannot be one, doesn't."""
    layout = Layout(project / ".agent-pool")
    for name in ("by-identity", "inbox-only", "human", "no name"):
        (layout.experts / name / "inbox").mkdir(parents=True)
    for name in ("by-identity", "human", "no name"):
        (layout.experts / name / "identity.md").write_text("x")
    configuration = Configuration(experts={"by-name": RoleTable()})
    assert experts_of(layout, configuration) == {"by-identity", "by-name"}
    assert [directory.name for directory, _ in misnamed_experts(layout)] == ["human", "no name"]
    said = load(layout, project).warnings
    assert f"{layout.experts / 'no name'}: not an expert: 'no name' cannot name an expert" in " ".join(said)


def test_a_pool_without_experts_has_none(project: Path) -> None:
    """No directory of experts is no error."""
    assert experts_of(Layout(project / ".agent-pool"), Configuration()) == frozenset()


def _tracked(project: Path) -> set[str]:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=project, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    git("add", ".")
    return {name.removeprefix(".agent-pool/") for name in git("ls-files").splitlines()}


def test_git_keeps_the_knowledge_and_nothing_else(project: Path) -> None:
    """The pool's own `.gitignore` lets settings, knowledge, contracts and formulas into git, and no mail or log."""
    founded = found(project, ["auth"])
    root = project / ".agent-pool"
    kept = ["contracts/login.md", "formulas/release.toml", "formulas/parts/x.toml", "shared-state/law/state.md"]
    ignored = [
        "postoffice/q.md",
        "mail/q.md",
        "mail/state.md",
        "archive/2026-11/state.md",
        "journal/1.jsonl",
        "run/runs/x/identity.md",
        "deadletter/q.md",
        "human/inbox/a.md",
        "concierge/inbox/a.md",
        "architect/inbox/identity.md",
        "architect/logs/index.md",
        "experts/auth/inbox/state.md",
        "experts/auth/logs/q/state.md",
        "experts/auth/notes.md",
        "contracts/.swp",
        "taskboard.json",
    ]
    for name in kept + ignored:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    assert _tracked(project) == {str(file.relative_to(root)) for file in founded.created} | set(kept)


def test_the_example_is_kept_by_its_own_gitignore(project: Path) -> None:
    """Every file of the example pool is one that its `.gitignore` lets into git."""
    root = project / ".agent-pool"
    shutil.copytree(ROOT / ".agent-pool.example", root)
    assert _tracked(project) == set(_texts(root))
    assert (root / ".gitignore").read_text() == read_template("gitignore")


def test_the_example_has_what_its_settings_name(project: Path, tmp_path: Path) -> None:
    """Each expert that the example names has its three knowledge files, and its directories can be made."""
    layout = Layout(project / ".agent-pool")
    shutil.copytree(ROOT / ".agent-pool.example", layout.root)
    experts = experts_of(layout, load(layout, tmp_path).configuration)
    assert experts == {"backend", "frontend"}
    for name in (*experts, "architect", "researcher"):
        for file in ("identity.md", "state.md", "errors.md"):
            assert (layout.home(name) / file).read_text().startswith("# ")
    assert layout.postoffice in ensure_directories(layout, experts)


def test_every_identity_tells_how_to_answer(project: Path, tmp_path: Path) -> None:
    """Founded identities, those of the example, and the text for pools that have none all hold one protocol."""
    found(project, ["auth"])
    example = tmp_path / "example"
    shutil.copytree(ROOT / ".agent-pool.example", example / ".agent-pool")
    for root, names in ((project, ["auth"]), (example, ["backend", "frontend"])):
        layout = Layout(root / ".agent-pool")
        for name in (*names, "architect", "researcher"):
            assert (layout.home(name) / "identity.md").read_text().endswith(protocol(layout, name))
    assert "`.agent-pool/experts/new/errors.md`" in identity(Layout(project / ".agent-pool"), "new")


def _installed(site: Path) -> subprocess.CompletedProcess[str]:
    code = "from agentpool.pool.templates import templates_directory; print(templates_directory())"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=site,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_templates_are_found_in_a_checkout_and_in_an_installed_package(tmp_path: Path) -> None:
    """The same files are found where the repository keeps them and where the wheel puts them; else it is said."""
    assert templates_directory() == ROOT / "templates"
    site = tmp_path / "site"
    shutil.copytree(ROOT / "agentpool", site / "agentpool", ignore=shutil.ignore_patterns("__pycache__"))
    broken = _installed(site)
    assert "has no templates/" in broken.stderr
    assert broken.returncode != 0
    shutil.copytree(ROOT / "templates", site / "agentpool" / "templates")
    assert _installed(site).stdout.strip() == str(site / "agentpool" / "templates")
