"""Train over two hosts, which are network namespaces of this machine, and cut one off."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scenarios import failing

NAMES = ("basetrainer-a", "basetrainer-b")
CARDS = ("bt-a", "bt-b")
ADDRESSES = ("10.213.7.1", "10.213.7.2")
STALL_TIMEOUT = 10.0


def ip(*arguments: str) -> None:
    """Change the network."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def two_hosts() -> Iterator[None]:
    """Make the namespaces, joined by a pair of cards, and take them away again."""
    try:
        for name in NAMES:
            ip("netns", "add", name)
        ip("link", "add", CARDS[0], "type", "veth", "peer", "name", CARDS[1])
        for name, card, address in zip(NAMES, CARDS, ADDRESSES, strict=True):
            ip("link", "set", card, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", card)
            ip("-n", name, "link", "set", card, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in NAMES:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)


def start(host: int, settings: dict[str, Any]) -> subprocess.Popen[str]:
    """Start the job of one host."""
    command = ["ip", "netns", "exec", NAMES[host], sys.executable, "-m", "scenarios.two_hosts"]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": CARDS[host]}
    return subprocess.Popen(
        [*command, str(host), json.dumps(settings)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def run_on(host: int, settings: dict[str, Any]) -> None:
    """Train as one of the hosts."""
    url = f"tcp://{ADDRESSES[0]}:29123"
    more = {"num_machines": 2, "machine_rank": host, "dist_url": url}
    failing.start(settings, **more, stall_timeout=STALL_TIMEOUT)


def train(folder: Path, how: str | None) -> list[str]:
    """Train on both hosts, and return a row of the table."""
    settings = {"work_dir": str(folder / "run"), "world": 1, "start_method": "spawn"}
    if how is not None:
        settings |= {"how": how, "where": "hook", "rank": 0, "moment": str(folder / "moment")}
    jobs = [start(host, settings) for host in (0, 1)]
    begin = time.monotonic()
    if how is not None:
        while not (folder / "moment").exists() and jobs[0].poll() is None:
            time.sleep(0.1)
        if how == "pause":  # rank 0 waits in a hook until the cable is cut, and goes on then
            ip("-n", NAMES[1], "link", "set", CARDS[1], "down")
        begin = time.monotonic()
    codes = []
    said = []
    for job in jobs:
        try:
            _, text = job.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, 9)
            text = "it did not end"
        codes.append(job.returncode)
        said.append(text)
    seconds = time.monotonic() - begin
    good = codes == [0, 0] if how is None else all(code > 0 for code in codes)
    if not good:
        sys.stderr.write("\n".join(said))
    errors = [text.rpartition("error: ")[2].splitlines() for text in said if "error: " in text]
    told = "; ".join(one[0] for one in errors) or "-"
    what = {None: "to the end", "raise": "rank 0 raises", "pause": "the cable is cut"}[how]
    return [what, str(codes), f"{seconds:.1f}", "yes" if good else "no", told]


def is_possible() -> bool:
    """Whether this process may make network namespaces."""
    return sys.platform == "linux" and shutil.which("ip") is not None and os.geteuid() == 0


if __name__ == "__main__":
    run_on(int(sys.argv[1]), json.loads(sys.argv[2]))
