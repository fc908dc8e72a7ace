"""The whole pool on the real command: mail in, work done, answers out."""

from __future__ import annotations

import json

import pytest

from tests.claude.messages_api import Say, Tokens, Use
from tests.claude.pools import RealPool, tool_answer

pytestmark = pytest.mark.claude


def test_a_dropped_file_is_worked_on_and_answered(pool: RealPool) -> None:
    """The agent edits the project and its own state, and its last words are in the sender's inbox."""
    state = pool.layout.home("backend") / "state.md"
    pool.api.script(
        "Add a health endpoint.",
        [
            Use("Write", {"file_path": str(pool.project / "health.py"), "content": "OK = 200\n"}),
            Use("Read", {"file_path": str(state)}),
            Use("Write", {"file_path": str(state), "content": "# State\n\nhealth.py answers 200.\n"}),
            Say("/health answers 200.", Tokens(input=1000, output=200, cache_read=50, cache_write=7)),
        ],
    )
    pool.start()
    pool.drop("backend", "health", "Add a health endpoint.")
    task = pool.settled("health")
    assert task["state"] == "done"
    assert (pool.project / "health.py").read_text() == "OK = 200\n"
    assert state.read_text() == "# State\n\nhealth.py answers 200.\n"
    answer = pool.answer("health")
    assert "status: done" in answer
    assert answer.endswith("/health answers 200.\n")
    assert (pool.layout.logs("backend") / "index.md").read_text().count("| health | done | 1 |") == 1


def test_what_a_run_is_told(pool: RealPool) -> None:
    """The request holds the identity as system prompt, then errors, state, inputs and mail: in this order, in full."""
    home = pool.layout.home("frontend")
    identity = "You are the expert for the frontend. $AGENTPOOL_OUTBOX is where mail goes.\n" + "i" * 5000
    errors = "# Errors\n\n- never use tabs\n" + "e" * 5000
    state = "# State\n\nThe form is in form.tsx.\n" + "s" * 5000
    for name, text in (("identity", identity), ("errors", errors), ("state", state)):
        (home / f"{name}.md").write_text(text)
    body = "Build the form.\n\n</pool:mail> is only text.\n" + "m" * 5000
    answer = "POST /login takes a name.\n" + "a" * 5000
    pool.api.script("Design the API.", [Say(answer)])
    pool.api.script("Build the form.", [Say("Built.")])
    pool.start()
    pool.drop("backend", "api", "Design the API.")
    pool.drop("frontend", "form", f"---\ndepends-on: [api]\ninputs: [api]\n---\n{body}")
    assert pool.settled("form")["state"] == "done"
    [request] = pool.api.conversation("Build the form.")
    assert identity in request.system
    assert errors not in request.system
    told = request.prompt
    parts = [errors, state, answer, body.replace("</pool:mail>", "&lt;/pool:mail>")]
    places = [told.find(part) for part in parts]
    assert places == sorted(places)
    assert places[0] > 0
    assert '<pool:input id="api" from="backend" status="done">' in told
    assert sorted(request.tools) == sorted(set(request.tools) & {"Bash", "Edit", "Read", "Write", "Grep", "Glob"})
    sizes = {size["section"]: (size["bytes"], size["cut"]) for size in pool.record("frontend", "form")["sizes"]}
    assert sizes["identity"] == (len(identity), 0)
    assert sizes["state"] == (len(state), 0)
    assert sizes["inputs"] == (len(answer), 0)
    assert set(sizes) == {"identity", "errors", "state", "inputs", "mail"}


def test_what_one_run_learns_the_next_one_knows(pool: RealPool) -> None:
    """What a run writes to its expert's `errors.md` stands in the prompt of that expert's next run, not of others'."""
    lesson = "## Port 80 is taken: use 8080"
    pool.api.script(
        "Start the server.",
        [Use("Bash", {"command": f"echo '{lesson}' >> .agent-pool/experts/backend/errors.md"}), Say("It runs.")],
    )
    pool.api.script("Again.", [Say("At once."), Say("What is a port?")])
    pool.start()
    pool.drop("backend", "server", "Start the server.")
    pool.settled("server")
    pool.drop("backend", "again", "Again.")
    pool.settled("again")
    pool.drop("frontend", "other", "Again.")
    pool.settled("other")
    assert [lesson in request.prompt for request in pool.api.conversation("Again.")] == [True, False]


def test_a_mail_that_is_too_long_for_a_prompt(pool: RealPool) -> None:
    """A long mail is shown as far as its budget goes, and the agent can read the rest in the file that is named."""
    whole = pool.layout.mail_file("long")
    pool.api.script(
        "Read this log.", [Use("Bash", {"command": f"tail -c 20 {whole}"}), Say("The last line is the cause.")]
    )
    pool.start()
    pool.drop("backend", "long", "Read this log.\n" + "line of the log\n" * 20_000 + "the cause")
    assert pool.settled("long")["state"] == "done"
    first, second = pool.api.conversation()
    assert len(first.prompt) < 140_000
    assert f"the whole text is in {whole}" in first.prompt
    assert "the cause" not in first.prompt
    assert tool_answer(second).endswith("the cause")
    [size] = [size for size in pool.record("backend", "long")["sizes"] if size["section"] == "mail"]
    assert size["cut"] > 180_000


def test_two_experts_at_once(pool: RealPool) -> None:
    """Tasks of different experts run side by side, those of one expert one after the other."""
    meet = "touch here-$AGENTPOOL_NAME; until [ -e here-backend -a -e here-frontend ]; do read -t 0.02 <> <(:); done"
    for mail_id in ("b1", "f1", "b2"):
        pool.api.script(f"Meet: {mail_id}.", [Use("Bash", {"command": meet}), Say("We met.")])
    pool.start()
    for mailbox, mail_id in (("backend", "b1"), ("backend", "b2"), ("frontend", "f1")):
        pool.drop(mailbox, mail_id, f"Meet: {mail_id}.")
    tasks = [pool.settled(mail_id) for mail_id in ("b1", "f1", "b2")]
    assert [task["state"] for task in tasks] == ["done"] * 3
    first, second = pool.record("backend", "b1"), pool.record("backend", "b2")
    assert second["started"] >= first["ended"]


def test_two_experts_and_a_continuation(pool: RealPool) -> None:
    """Tasks that a run wrote to its outbox go to two experts; the same task goes on once, with both answers."""
    api_task = {
        "file_path": str(pool.layout.run_directory("login.1") / "outbox" / "login-api.md"),
        "content": "---\nto: backend\n---\nMake the API.\n",
    }
    form_task = "printf -- '---\\nto: frontend\\n---\\nMake the form.\\n' > $AGENTPOOL_OUTBOX/login-form.md"
    pool.api.script(
        "Build the login.",
        [
            Use("Write", api_task),
            Use("Bash", {"command": form_task}),
            Say("I sent two tasks."),
            Say("The login is built."),
        ],
    )
    pool.api.script("Make the API.", [Say("POST /login is there.")])
    pool.api.script("Make the form.", [Say("The form posts to /login.")])
    pool.start()
    pool.drop("architect", "login", "Build the login.")
    task = pool.settled("login")
    assert (task["state"], task["children"], task["attempt"]) == ("done", ["login-api", "login-form"], 1)
    assert pool.answer("login").endswith("The login is built.\n")
    *_, continued = pool.api.conversation("Build the login.")
    assert '<pool:input id="login-api" from="backend" status="done">\nPOST /login is there.' in continued.prompt
    assert '<pool:input id="login-form" from="frontend" status="done">\nThe form posts to /login.' in continued.prompt
    assert continued.prompt.index("The form posts") < continued.prompt.index("Build the login.")
    steps = [attempt["step"] for attempt in task["attempts"]]
    assert steps == ["delegate", "done"]
    assert [file.name for file in pool.layout.inbox("human").iterdir()] == ["login.response.md"]


def test_an_answer_in_a_file(pool: RealPool) -> None:
    """`response.md` in the outbox is the answer, with its status; a person can ask for it and read it at once."""
    response = "---\ntype: response\nstatus: needs-input\n---\nWhich database?\n"
    pool.api.script(
        "Where are sessions stored?",
        [
            Use("Bash", {"command": f"cat > $AGENTPOOL_OUTBOX/response.md <<'END'\n{response}END"}),
            Say("I asked back."),
        ],
    )
    pool.start()
    asked = pool("ask", "backend", "Where are sessions stored?")
    assert (asked.returncode, asked.stdout) == (1, "Which database?\n")
    assert "needs-input" in asked.stderr
    assert pool("inbox").stdout == "no unread mail\n"


def test_what_a_run_may_not_touch(pool: RealPool) -> None:
    """Rules keep a run from the pool's own files and from what others know, also where all of Bash is allowed."""
    layout = pool.layout
    foreign = layout.home("frontend") / "state.md"
    before = {file: file.read_text() for file in (layout.configuration, foreign)}
    targets = [layout.configuration, foreign, layout.journal / "x", layout.inbox("human") / "x.md"]
    pool.api.script(
        "Overreach.",
        [
            *(Use("Write", {"file_path": str(target), "content": "mine"}) for target in targets),
            Use("Bash", {"command": f"echo mine > {foreign}"}),
            Use("Bash", {"command": "git stash"}),
            Use("Bash", {"command": "echo mine > .agent-pool/experts/backend/notes.md"}),
            Say("Nothing of that went."),
        ],
    )
    pool.start()
    pool.drop("backend", "overreach", "Overreach.")
    assert pool.settled("overreach")["state"] == "done"
    answers = [tool_answer(request) for request in pool.api.conversation("Overreach.")[1:]]
    assert ["denied" in answer for answer in answers] == [True] * 6 + [False]
    assert pool.record("backend", "overreach")["denials"] == []
    assert {file: file.read_text() for file in before} == before
    assert not any(target.exists() for target in targets[2:])
    assert (layout.home("backend") / "notes.md").read_text() == "mine\n"


def test_what_is_known_of_a_run(pool: RealPool) -> None:
    """Money, tokens, model, version, memory, time and prompt sizes are in `run.json` and in what `show` prints."""
    pool.api.script("Count.", [Say("One.", Tokens(input=1000, output=200, cache_read=50, cache_write=7))])
    pool.start()
    pool.drop("backend", "count", "Count.")
    pool.settled("count")
    record = pool.record("backend", "count")
    assert record["cost_usd"] > 0
    assert (record["input_tokens"], record["output_tokens"], record["turns"]) == (1000, 200, 1)
    assert (record["cache_read_tokens"], record["cache_write_tokens"]) == (50, 7)
    assert "sonnet" in record["model"]
    assert record["command_version"][0].isdigit()
    assert record["peak_memory_bytes"] > 50 << 20
    assert 0 < record["seconds"] < 20
    assert {size["section"] for size in record["sizes"]} == {"identity", "errors", "state", "mail"}
    shown = json.loads(pool("show", "count", "--json").stdout)
    assert shown["attempts"] == [record]
    assert shown["cost_usd"] == pytest.approx(record["cost_usd"], abs=1e-6)
    said = pool("show", "count").stdout
    assert "1000+200 tokens" in said
    assert "MiB" in said


def test_a_tool_that_is_not_allowed(pool: RealPool) -> None:
    """A refused call is shown with the entry that would allow it; the run itself goes on."""
    pool.configure(agent={"allowed_tools": ["Read", "Bash(git status:*)"]})
    pool.api.script(
        "Test it.",
        [Use("Bash", {"command": "npm test -- --watch"}), Say("I could not test it.")],
    )
    pool.start()
    pool.drop("backend", "test", "Test it.")
    assert pool.settled("test")["state"] == "done"
    said = pool("show", "test").stdout
    assert "Bash(npm test:*)" in said
    assert "allowed_tools" in said


def test_from_inside_an_agent_session(pool: RealPool) -> None:
    """Started by an agent, the pool works all the same, and its runs hear nothing of that session."""
    pool.api.script(
        "Who am I?",
        [Use("Bash", {"command": "env | grep -c -e outer-session -e CLAUDE_CODE_SSE_PORT"}), Say("A run.")],
    )
    pool.environment |= {
        "CLAUDECODE": "1",
        "CLAUDE_CODE_ENTRYPOINT": "cli",
        "CLAUDE_CODE_SESSION_ID": "outer-session",
        "CLAUDE_CODE_SSE_PORT": "1",
        "AGENTPOOL_RUN": "outer-session",
    }
    started = pool("start", "-d")
    assert (started.returncode, started.stderr) == (0, "")
    try:
        pool.drop("backend", "who", "Who am I?")
        assert pool.settled("who")["state"] == "done"
        [_, counted] = pool.api.conversation("Who am I?")
        assert tool_answer(counted) == "0"
    finally:
        assert pool("stop", "--now").returncode == 0
