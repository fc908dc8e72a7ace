"""`make bench`: every number that agentpool claims, measured on this machine. `make bench ARGS=latency` runs one."""

from __future__ import annotations

import sys

from benchmarks import board, burst, commands, latency, rest, throughput
from benchmarks.report import describe_machine

ALL = {
    "commands": commands.measure,
    "latency": latency.measure,
    "throughput": throughput.measure,
    "burst": burst.measure,
    "board": board.measure,
    "rest": rest.measure,
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; the exit code says whether every target was met."""
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(ALL)}", file=sys.stderr)
        return 2
    print(describe_machine())
    met = True
    for name in names or ALL:
        print(f"\n{name}: {sys.modules[ALL[name].__module__].__doc__}".rstrip())
        for figure in ALL[name]():
            met = figure.met and met
            print(f"  {figure}", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
