"""`python -m agentpool` is the `agentpool` command."""

from agentpool.cli.main import main

if __name__ == "__main__":
    main()
