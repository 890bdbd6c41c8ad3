"""Train over two hosts, which are network namespaces of this machine, and cut one off.

    sudo python -m benchmarks.two_hosts            # Linux with ip(8), as root

A pair of virtual network cards joins the two. First they train to the end; then the rank of the
first host fails; then the cable is cut in the middle of a training. Both jobs must end, the last
two times with an exit code that is not 0.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from scenarios.two_hosts import is_possible, train, two_hosts


def main() -> None:
    """Print a table."""
    if not is_possible():
        raise SystemExit("two hosts need Linux, ip(8) and root")
    print("| training | exit codes | seconds | as it should be | told on the two |")
    print("|---|---|---|---|---|")
    for how in (None, "raise", "pause"):
        with two_hosts(), tempfile.TemporaryDirectory() as folder:
            print(f"| {' | '.join(train(Path(folder), how))} |", flush=True)


if __name__ == "__main__":
    main()
