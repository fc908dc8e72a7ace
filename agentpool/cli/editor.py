"""Lets a person write a mail in their own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from agentpool.model.errors import UsageError

_STARTER = "\n\n<!-- Write the mail above this line. An empty mail is not sent. -->\n"


def edited_mail() -> str:
    """The text that a person wrote in `$VISUAL`, `$EDITOR` or vi.

    Raises:
        UsageError: the editor failed, or the text is empty.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="agentpool-") as directory:
        file = Path(directory, "mail.md")
        file.write_text(_STARTER, encoding="utf-8")
        try:
            subprocess.run([*shlex.split(editor), str(file)], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise UsageError(
                f"the editor {editor!r} failed: {error}", tip="give the text as an argument, or -"
            ) from None
        text = file.read_text(encoding="utf-8").replace(_STARTER.strip(), "").strip()
    if not text:
        raise UsageError("the mail is empty, so it was not sent")
    return text
