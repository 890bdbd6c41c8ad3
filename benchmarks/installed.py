"""Install the wheel into an empty environment, and use it there without a network.

python -m benchmarks.installed            # the wheel alone: train, stop, go on
python -m benchmarks.installed --extras   # then each extra: refused without, used with it

The environment needs 6 GB, and is gone afterwards. Only installing uses the network: what is run
has no sockets (an audit hook of Python's) and, where ``unshare --net`` is allowed, no network.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.wheel import build_wheel
from scenarios.installed import NO_SOCKETS, PROGRAM, PROMISES, refused


class Environment:
    """An empty virtual environment, and a folder to run programs in."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "environment"
        self._work = folder / "work"
        self._work.mkdir()
        subprocess.run([sys.executable, "-m", "venv", self._root], check=True)
        self.python = self._root / "bin" / "python"
        self._hook = folder / "hook"  # on the path of programs, not of pip
        self._hook.mkdir()
        (self._hook / "sitecustomize.py").write_text(NO_SOCKETS)

    def install(self, requirement: str) -> float:
        """Install one requirement in one command, and return the seconds."""
        begin = perf_counter()
        options = ["--quiet", "--no-cache-dir", "--disable-pip-version-check"]
        command = [str(self.python), "-m", "pip", "install", *options, requirement]
        subprocess.run(command, check=True)
        return perf_counter() - begin

    def run(self, program: str) -> subprocess.CompletedProcess[str]:
        """Run a program without sockets, far from this clone."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environ["PYTHONPATH"] = str(self._hook)
        command = [*_without_network(), str(self.python), "-c", program]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self._work, env=environ, timeout=600
        )

    def packages(self) -> list[str]:
        """Return what is installed, but for pip and what it came with."""
        listed = [str(self.python), "-m", "pip", "list", "--format", "json"]
        found = json.loads(subprocess.run(listed, capture_output=True, check=True).stdout)
        return [one["name"] for one in found if one["name"] not in ("pip", "setuptools")]

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(path.lstat().st_size for path in self._root.rglob("*"))


def _without_network() -> list[str]:
    command = ["unshare", "--net"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return command


def checked(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a program printed last; end here with what it said if it failed."""
    if done.returncode:
        sys.exit(done.stderr)
    return (done.stdout.splitlines() or [""])[-1]


def main() -> None:
    """Run it all, and print what was seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--extras", action="store_true", help="try each extra, too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        environment = Environment(Path(folder))
        seconds = environment.install(str(wheel))
        packages, size = len(environment.packages()), environment.size() / 1e9
        print(f"installed {wheel.name} and {packages - 1} more in {seconds:.0f} s, {size:.1f} GB")
        where = "without a network" if _without_network() else "without sockets"
        begin = perf_counter()
        place = checked(environment.run(PROGRAM))
        print(f"trained {where} in {perf_counter() - begin:.0f} s, from {Path(place).parts[-3:]}")
        if Path(place).is_relative_to(Path(__file__).parents[1]):
            sys.exit(f"{place} is this clone")
        for extra, program in PROMISES.items() if args.extras else ():
            asked = refused(environment.run(program))
            if asked != extra:
                sys.exit(f"without {extra}, the message names {asked}")
            seconds = environment.install(f"{wheel}[{extra}]")
            checked(environment.run(program))
            print(f"{extra}: refused without, works with it; installed in {seconds:.0f} s")


if __name__ == "__main__":
    main()
