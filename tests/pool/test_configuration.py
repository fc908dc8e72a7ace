from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from agentpool.model.duration import parse_duration, spell_duration
from agentpool.model.errors import ConfigurationError
from agentpool.pool.configuration import MOST_PROMPT_BYTES, Configuration
from agentpool.pool.configuration_file import fingerprint, load, user_file
from agentpool.pool.layout import Layout
from agentpool.pool.setting_types import AgentKind, PermissionMode, Writers
from agentpool.pool.size import parse_size, spell_size
from agentpool.pool.templates import read_template

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentpool.pool.configuration_file import LoadedConfiguration

ROOT = Path(__file__).resolve().parents[2]


class Files:
    """A pool and a home directory, empty until a test writes their files."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory / "project" / ".agent-pool")
        self.home = directory / "home"
        self.layout.root.mkdir(parents=True)
        user_file(self.home).parent.mkdir(parents=True)
        self.pool(" ")

    def pool(self, text: str) -> None:
        """Write `pool.toml`."""
        self.layout.configuration.write_text(text, encoding="utf-8")

    def user(self, text: str) -> None:
        """Write the user's own defaults."""
        user_file(self.home).write_text(text, encoding="utf-8")

    def load(self) -> LoadedConfiguration:
        """Load both."""
        return load(self.layout, self.home)

    def refused(self) -> ConfigurationError:
        """The error that loading ends in."""
        with pytest.raises(ConfigurationError) as caught:
            self.load()
        return caught.value


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """An empty pool and an empty home directory."""
    return Files(tmp_path)


def test_an_empty_file_gives_every_default(files: Files) -> None:
    """A pool that sets nothing runs with the defaults, and nothing is said."""
    loaded = files.load()
    assert loaded.configuration == Configuration()
    assert loaded.warnings == ()


def test_a_missing_file_gives_the_defaults_and_is_said(files: Files) -> None:
    """A pool without `pool.toml` starts, with a warning that names the file."""
    files.layout.configuration.unlink()
    loaded = files.load()
    assert loaded.configuration == Configuration()
    assert loaded.warnings == (f"{files.layout.configuration}: not there, so that every setting has its default",)


def test_texts_become_typed_values(files: Files) -> None:
    """Durations are seconds, sizes are bytes, and a program is an argument list."""
    files.pool(
        """
        [pool]
        sweep = "250ms"
        retention = "7d"
        writers = "owned"
        [agent]
        kind = "simulated"
        command = "~/bin/claude"
        allowed_tools = ["Read"]
        [runs]
        run_timeout = "1h30m"
        [limits]
        mail_bytes = "64KiB"
        run_memory = 1000
        [budget]
        run_usd = 2
        """
    )
    configuration = files.load().configuration
    assert configuration.pool.sweep == 0.25
    assert configuration.pool.retention == 7 * 86_400
    assert configuration.pool.writers is Writers.OWNED
    assert configuration.agent.kind is AgentKind.SIMULATED
    assert configuration.agent.command == (str(files.home / "bin/claude"),)
    assert configuration.agent.allowed_tools == ("Read",)
    assert configuration.runs.run_timeout == 5400
    assert configuration.limits.mail_bytes == 65_536
    assert configuration.limits.run_memory == 1000
    assert configuration.budget.run_usd == 2.0


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ("[pool]\nname = 7", "pool.name", "text in quotes"),
        ('[pool]\nname = ""', "pool.name", "not be empty"),
        ("[pool]\nsweep = 3", "pool.sweep", '"90s", "10m"'),
        ('[pool]\nsweep = "0s"', "pool.sweep", 'from "100ms" to "1h"'),
        ('[pool]\nwriters = "all"', "pool.writers", "'any' or 'owned'"),
        ('pool = "x"', "pool", "must be a table"),
        ('[agent]\nkind = "robot"', "agent.kind", "'claude' or 'simulated'"),
        ('[agent]\npermission_mode = "yolo"', "agent.permission_mode", "'dontAsk'"),
        ('[agent]\ncommand = "npx claude"', "agent.command", "['npx', 'claude']"),
        ("[agent]\ncommand = []", "agent.command", "a list of it and its arguments"),
        ('[agent]\nallowed_tools = "Read"', "agent.allowed_tools", "must be a list"),
        ("[agent]\nallowed_tools = [1]", "agent.allowed_tools[0]", "text in quotes"),
        ('[agent]\nsetting_sources = ["users"]', "agent.setting_sources[0]", "'project'"),
        ("[agent]\nenv = { PORT = 80 }", "agent.env.PORT", "text in quotes"),
        ('[agent]\nenv = { "A B" = "x" }', 'agent.env."A B"', "environment variable"),
        ('[agent]\nenv = { AGENTPOOL_RUN = "x" }', "agent.env.AGENTPOOL_RUN", "supervisor"),
        ('[agent]\nenv = { A = "\\u0000" }', "agent.env.A", "NUL"),
        ('[agent]\nmodel = "a\\u0000b"', "agent.model", "NUL"),
        ('[agent]\nkind = "simulated"\nscript = "no.toml"', "agent.script", "no file"),
        ('[runs]\nmax_attempts = "7"', "runs.max_attempts", "whole number"),
        ("[runs]\nmax_attempts = true", "runs.max_attempts", "whole number"),
        ("[runs]\nmax_attempts = 0", "runs.max_attempts", "at least 1"),
        ('[runs]\nretry_first = "10m"', "runs", "retry_first must not be longer than retry_most"),
        ('[runs]\nstall_timeout = "none"', "runs.stall_timeout", "no duration"),
        ("[limits]\nmax_runs = 0", "limits.max_runs", "at least 1"),
        ('[limits]\nmail_bytes = "2 pages"', "limits.mail_bytes", "64KiB"),
        ("[limits]\nmail_bytes = true", "limits.mail_bytes", "no size"),
        ("[limits]\nmail_bytes = 65536.0", "limits.mail_bytes", "no size"),
        ('[limits]\nheader_bytes = "1MiB"', "limits.header_bytes", 'to "16KiB"'),
        ("[limits]\nmail_bytes = 2000", "limits", "header_bytes must not be larger than mail_bytes"),
        ("[budget]\nrun_usd = 0", "budget.run_usd", "greater than 0"),
        ("[budget]\nrun_usd = nan", "budget.run_usd", "finite"),
        ('[budget]\nday_usd = "5"', "budget.day_usd", "must be a number"),
        ("[budget]\nrun_usd = 60", "budget", "run_usd must not be more than day_usd"),
        ("[architect]\nrun_usd = 51.0", "architect.run_usd", "must not be more than budget.day_usd"),
        ("[experts.a]\nrun_usd = 51.0", "experts.a.run_usd", "must not be more than budget.day_usd"),
        ('[prompt]\nmail = "700KiB"\ninputs = "700KiB"', "prompt", "together"),
        ("[experts]\na = 3", "experts.a", "must be a table"),
        ('[experts."a/b"]', 'experts."a/b"', "cannot name an expert"),
        ("[experts.human]", "experts.human", "the pool uses"),
    ],
)
def test_a_wrong_value_is_refused_with_file_key_and_what_is_allowed(
    files: Files, text: str, key: str, allowed: str
) -> None:
    """Every wrong setting ends in one error that says where it stands and what may stand there."""
    files.pool(text)
    error = files.refused()
    assert error.message.startswith(f"{files.layout.configuration}: {key}")
    assert allowed in error.message
    assert error.tip == f"edit {files.layout.configuration}"


def test_a_path_of_the_command_begins_at_the_project(files: Files) -> None:
    """A program with a path is found from wherever the supervisor was started; a bare name is left to the PATH."""
    files.pool('[agent]\ncommand = ["./tools/claude", "./x"]')
    assert files.load().configuration.agent.command == (str(files.layout.project / "tools/claude"), "./x")
    files.pool('[agent]\ncommand = "/opt/my tools/claude"')
    assert files.load().configuration.agent.command == ("/opt/my tools/claude",)
    files.pool('[agent]\ncommand = ["claude"]')
    assert files.load().configuration.agent.command == ("claude",)


def test_all_wrong_values_are_said_at_once(files: Files) -> None:
    """Whoever mends a file hears of every problem in it, each with its own file."""
    files.pool('[pool]\nsweep = 3\n[agent]\nkind = "robot"')
    files.user("[runs]\nmax_attempts = 0")
    message = files.refused().message
    assert message.startswith("3 settings cannot be used:\n")
    assert f"{files.layout.configuration}: pool.sweep" in message
    assert f"{files.layout.configuration}: agent.kind" in message
    assert f"{user_file(files.home)}: runs.max_attempts" in message


def test_a_refusal_does_not_print_the_value_of_a_variable(files: Files) -> None:
    """Variables may be secrets, so neither an error nor a configuration that is printed shows them."""
    files.pool('[agent]\nenv = { "BAD NAME" = "hunter2", TOKEN = ["hunter2"] }')
    assert "hunter2" not in files.refused().message
    files.pool('[agent]\nenv = { TOKEN = "hunter2" }')
    assert "hunter2" not in repr(files.load().configuration)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"[pool]\nname = broken\n", "line 2, column 8: not TOML"),
        (b"[pool]\nname = 'x'\nname = 'y'\n", "line 3"),
        (b"[pool]\nname = '''\n\n", "line 4: not TOML"),
        (b"[pool]\nname = '\xff'\n", "line 2: not UTF-8"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(files: Files, content: bytes, where: str) -> None:
    """What is no TOML, or no UTF-8, is refused with the file and the line."""
    files.layout.configuration.write_bytes(content)
    assert files.refused().message.startswith(f"{files.layout.configuration}, {where}")


def test_a_file_that_cannot_be_read_is_refused(files: Files) -> None:
    """A directory in the place of the file is an error of its own, not an empty configuration."""
    files.layout.configuration.unlink()
    files.layout.configuration.mkdir()
    assert files.refused().message.startswith(f"{files.layout.configuration}: cannot be read")


def test_the_pool_wins_over_the_users_defaults_key_by_key(files: Files) -> None:
    """A user's defaults hold where the pool is silent; a list is one value."""
    files.user(
        '[agent]\nmodel = "opus"\nallowed_tools = ["Read", "Bash"]\n[runs]\nrun_timeout = "1h"\nmax_attempts = 5'
    )
    files.pool('[agent]\nallowed_tools = ["Grep"]\n[runs]\nrun_timeout = "none"')
    configuration = files.load().configuration
    assert configuration.agent.model == "opus"
    assert configuration.agent.allowed_tools == ("Grep",)
    assert configuration.runs.run_timeout is None
    assert configuration.runs.max_attempts == 5


def test_the_users_file_makes_no_experts(files: Files) -> None:
    """An expert in the user's file would appear in every pool, so it has no effect and is said."""
    files.user("[experts.everywhere]")
    loaded = files.load()
    assert loaded.configuration.experts == {}
    assert loaded.warnings == (f"{user_file(files.home)}: [experts] has no effect here: a pool names its own experts",)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            '[pool]\nsweeep = "2s"',
            "pool.sweeep is not a setting of agentpool and has no effect: did you mean pool.sweep?",
        ),
        ('[pool]\nstall_timeout = "1m"', "pool.stall_timeout .*: did you mean runs.stall_timeout?"),
        ("[pool]\nqwertz = 1", "pool.qwertz is not a setting of agentpool and has no effect"),
        ("[budgt]\nrun_usd = 1", "budgt is not a table of agentpool and has no effect: did you mean budget?"),
        ('[experts.a]\nmodell = "opus"', "experts.a.modell .*: did you mean experts.a.model?"),
        ("top = 1", "top is not a setting of agentpool and has no effect"),
    ],
)
def test_an_unknown_key_is_a_warning_with_the_nearest_one(files: Files, text: str, warning: str) -> None:
    """A mistyped key is ignored and said, with the key that was probably meant, in its own table first."""
    files.pool(text)
    [said] = files.load().warnings
    assert re.match(re.escape(f"{files.layout.configuration}: ") + warning.replace("?", r"\?") + "$", said)


def test_names_of_variables_are_no_unknown_keys(files: Files) -> None:
    """`[agent] env` has names of its own, which are nobody's typing errors."""
    files.pool('[agent.env]\nmodle = "x"')
    assert files.load().warnings == ()


def test_a_pool_of_the_go_program_starts_unchanged(files: Files) -> None:
    """Every key that the Go program knows is taken over or noted, none is refused."""
    files.pool(
        f"""
        [pool]
        name = "full"
        project_dir = "{files.layout.project}"
        [concierge]
        model = "opus"
        session_timeout = "30m"
        [architect]
        model = "opus"
        session_timeout = "60m"
        approval_mode = "all"
        human_inbox = "telegram"
        [researcher]
        model = ""
        session_timeout = ""
        [shared]
        include = ["go-expert"]
        [defaults]
        model = "sonnet"
        allowed_tools = ["Read", "Bash"]
        session_timeout = "1h15m30s"
        log_retention_per_expert = 50
        [curation]
        interval_tasks = 5
        interval_hours = 24
        [experts.auth]
        model = "haiku"
        allowed_tools = ["Read"]
        """
    )
    loaded = files.load()
    configuration = loaded.configuration
    assert configuration.settings_for("architect").run_timeout == 3600
    assert configuration.settings_for("researcher").run_timeout == 4530
    assert configuration.settings_for("researcher").model == "sonnet"
    assert configuration.settings_for("auth").allowed_tools == ("Read",)
    assert configuration.settings_for("other").allowed_tools == ("Read", "Bash")
    assert configuration.shared.include == ("go-expert",)
    said = [warning.removeprefix(f"{files.layout.configuration}: ") for warning in loaded.warnings]
    assert said == [
        "[concierge] is a table of the Go agent-pool and has no effect",
        "[curation] is a table of the Go agent-pool and has no effect",
        "architect.approval_mode is a key of the Go agent-pool and has no effect",
        "architect.human_inbox is a key of the Go agent-pool and has no effect",
        "defaults.log_retention_per_expert is a key of the Go agent-pool and has no effect",
        "defaults.model of the Go agent-pool is read as agent.model",
        "defaults.allowed_tools of the Go agent-pool is read as agent.allowed_tools",
        "defaults.session_timeout of the Go agent-pool is read as runs.run_timeout",
        "architect.session_timeout of the Go agent-pool is read as architect.run_timeout",
    ]


@pytest.mark.parametrize("table", ["pool", "agent", "runs", "defaults"])
def test_session_timeout_means_run_timeout_wherever_it_stands(files: Files, table: str) -> None:
    """Wherever a pool-wide `session_timeout` stands, it is the timeout of every run."""
    files.pool(f'[{table}]\nsession_timeout = "15m"')
    assert files.load().configuration.runs.run_timeout == 900


def test_a_wrong_session_timeout_is_named_as_it_stands_in_the_file(files: Files) -> None:
    """An error names the key that a person finds in the file, not the one that it is read as."""
    files.pool('[defaults]\nsession_timeout = "soon"')
    assert files.refused().message.startswith(f"{files.layout.configuration}: defaults.session_timeout: 'soon'")


def test_the_own_key_wins_over_the_go_programs(files: Files) -> None:
    """Beside `run_timeout` a `session_timeout` has no effect, and that is said."""
    files.pool('[runs]\nrun_timeout = "5m"\nsession_timeout = "15m"')
    loaded = files.load()
    assert loaded.configuration.runs.run_timeout == 300
    assert "has no effect beside runs.run_timeout" in loaded.warnings[0]


def test_a_project_directory_elsewhere_is_said(files: Files) -> None:
    """Runs work where the pool is; a `project_dir` that says otherwise is a warning, one that agrees is none."""
    files.pool('[pool]\nproject_dir = "~/elsewhere"')
    assert "runs work in" in files.load().warnings[0]
    files.pool(f'[pool]\nproject_dir = "{files.layout.project}/"')
    assert files.load().warnings == ()


def test_a_role_overrides_what_holds_everywhere(files: Files) -> None:
    """What a role or expert sets holds for it; the rest is the pool's."""
    files.pool(
        """
        [agent]
        model = "sonnet"
        [runs]
        run_timeout = "10m"
        [architect]
        model = "opus"
        run_usd = 9.5
        run_timeout = "none"
        permission_mode = "plan"
        [experts.api]
        allowed_tools = []
        owns = ["src/**"]
        """
    )
    configuration = files.load().configuration
    architect, api, other = (configuration.settings_for(name) for name in ("architect", "api", "other"))
    assert (architect.model, architect.run_usd, architect.run_timeout) == ("opus", 9.5, None)
    assert architect.permission_mode is PermissionMode.PLAN
    assert (api.model, api.allowed_tools, api.owns, api.run_timeout) == ("sonnet", (), ("src/**",), 600)
    assert other.allowed_tools == configuration.agent.allowed_tools
    assert other.run_usd == configuration.budget.run_usd


def test_the_environment_is_an_allow_list(files: Files) -> None:
    """A run inherits what a command needs, never a session's variables, and gets what the pool gives it."""
    files.pool('[agent]\nenv_also = ["MY_*", "CLAUDE*"]\nenv = { HOME = "/elsewhere", EXTRA = "1" }')
    source = {
        "PATH": "/bin",
        "HOME": "/home/x",
        "LC_ALL": "C",
        "https_proxy": "p",
        "ANTHROPIC_API_KEY": "k",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "MY_VALUE": "v",
        "DATABASE_PASSWORD": "secret",
        "CLAUDECODE": "1",
        "CLAUDE_CODE_ENTRYPOINT": "cli",
        "CLAUDE_CODE_SESSION_ID": "s",
        "AGENTPOOL_RUN": "r",
        "MY_": "kept",
    }
    kept = {"PATH", "LC_ALL", "https_proxy", "ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK", "MY_VALUE", "MY_"}
    expected = {name: source[name] for name in kept} | {"HOME": "/elsewhere", "EXTRA": "1"}
    assert files.load().configuration.agent.environment(source) == expected


def test_an_empty_allow_list_lets_nothing_through(files: Files) -> None:
    """`env_allow = []` is a run with an environment of its own."""
    files.pool("[agent]\nenv_allow = []")
    assert files.load().configuration.agent.environment({"PATH": "/bin", "": "x"}) == {}


def test_default_prompt_budgets_fit_into_a_pipe() -> None:
    """The default prompt fits into the pipe that holds it, with room for what JSON adds."""
    assert Configuration().prompt.total < MOST_PROMPT_BYTES


def test_default_retries_outlast_a_long_overload() -> None:
    """Transient failures are repeated for longer than the quarter of an hour that overloads were seen to last."""
    assert Configuration().runs.transient_horizon > 15 * 60


def _rewritten(file: Path) -> None:
    aside = file.with_suffix(".aside")
    aside.write_bytes(file.read_bytes())
    aside.replace(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files.pool("[pool] # longer"),
        lambda files: files.user(""),
        lambda files: files.layout.configuration.unlink(),
        lambda files: os.utime(files.layout.configuration, ns=(1, 1)),
        lambda files: _rewritten(files.layout.configuration),
    ],
    ids=["edited", "the user's made", "removed", "touched", "replaced"],
)
def test_the_fingerprint_tells_of_every_change(files: Files, change: Callable[[Files], None]) -> None:
    """Whatever happens to one of the two files gives another fingerprint; nothing gives the same."""
    before = fingerprint(files.layout, files.home)
    assert fingerprint(files.layout, files.home) == before
    change(files)
    assert fingerprint(files.layout, files.home) != before


def _fields(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= _fields(field.annotation, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = field.default
    return found


def _get(value: object, dotted: str) -> object:
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else getattr(value, part)
    return value


def test_the_shipped_file_explains_every_setting_with_its_default(files: Files) -> None:
    """Each setting stands in the template, commented out, and taking the `#` away changes nothing."""
    shipped = read_template("pool.toml")
    files.pool(shipped)
    assert files.load().configuration == Configuration()

    uncommented = re.sub(r"^#(?=\S)", "", shipped, flags=re.MULTILINE)
    files.pool(uncommented)
    loaded = files.load()
    assert loaded.warnings == ()
    written = tomllib.loads(uncommented)
    fields = _fields(Configuration)
    for dotted, default in fields.items():
        if dotted.startswith(("researcher.", "experts")):
            continue
        assert _get(written, dotted) is not None, f"{dotted} is not explained"
        if default is not None and not dotted.startswith("architect."):
            assert _get(loaded.configuration, dotted) == default, dotted


def test_the_example_pool_loads_without_a_warning(files: Files) -> None:
    """The example in the repository is a pool that anyone can start."""
    example = Layout(ROOT / ".agent-pool.example")
    loaded = load(example, files.home)
    assert loaded.warnings == ()
    assert loaded.configuration.agent.kind is AgentKind.SIMULATED


@given(st.integers(min_value=0, max_value=400 * 86_400_000))
def test_a_spelled_duration_reads_back_as_itself(milliseconds: int) -> None:
    """`spell_duration` and `parse_duration` are inverse, to the millisecond."""
    assert parse_duration(spell_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-6)


@given(st.integers(min_value=0, max_value=1 << 45))
def test_a_spelled_size_reads_back_as_itself(count: int) -> None:
    """`spell_size` and `parse_size` are inverse."""
    assert parse_size(spell_size(count)) == count


@pytest.mark.parametrize("text", ["", "10", "m", "-1s", "1h 30m", "10 minutes", "1e3s", "\u0661\u0660s", "10M"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A number without a unit, or a unit that is not one, is no duration."""
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "count"), [("0", 0), ("64KiB", 65_536), ("1.5 MiB", 1_572_864), ("3kb", 3000)])
def test_sizes_have_units_of_two_and_of_ten(text: str, count: int) -> None:
    """KiB is 1024 bytes and kB is 1000, in any case of letters."""
    assert parse_size(text) == count


def test_founding_and_layout_do_not_load_pydantic() -> None:
    """What `agentpool init` needs starts without the 0.1 s that pydantic takes."""
    code = (
        "import sys, agentpool.pool.founding, agentpool.model.duration, agentpool.pool.environment\n"
        "assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
