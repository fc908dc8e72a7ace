"""agentpool: a process supervisor for headless Claude Code runs, coordinated by files."""

__version__ = "0.1.0"
