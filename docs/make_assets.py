"""Make the pictures of docs/assets from a run of the example.

    python -m docs.make_assets                  # trains the example, a minute on two cores
    python -m docs.make_assets --run FOLDER     # takes a run that is there

It needs what the example needs, and Chromium for the pages of TensorBoard (on Debian:
``apt-get install chromium``). Look at the pictures before you keep them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "docs" / "assets"
PICTURES = ("curves.png", "confusion_matrix.png")
PAGES = {
    "tensorboard_scalars.png": (
        "#scalars&tagFilter=_(epoch|step)%24&_smoothingWeight=0",
        1520,
        1050,
    ),
    "tensorboard_images.png": ("#images", 1000, 1310),
}
"""File name -> address within TensorBoard, width and height of the window in pixels."""

MOST_BYTES = 200_000
PATIENCE = 120.0
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    "--virtual-time-budget=30000",  # so long, in its own time, the page may load and draw
)


def train(folder: Path) -> Path:
    """Run the example, and return the folder of its run."""
    subprocess.run([sys.executable, str(ROOT / "example.py")], cwd=folder, check=True)
    (run,) = (folder / "work_space").iterdir()
    return run


@contextmanager
def tensorboard(run: Path) -> Iterator[str]:
    """Serve a run, and yield the address once its figures and pictures are there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--logdir", run.name, "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *arguments],
        cwd=run.parent,  # the page shows the path as it was given
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + PATIENCE
        while not (is_loaded(address, "scalars") and is_loaded(address, "images")):
            if time.monotonic() > deadline or server.poll() is not None:
                raise SystemExit(f"TensorBoard shows nothing of {run} after {PATIENCE:.0f} s.")
            time.sleep(1.0)
        time.sleep(2.0)  # the rest of the files
        yield address
    finally:
        server.terminate()
        server.wait()


def is_loaded(address: str, plugin: str) -> bool:
    """Whether TensorBoard has tags of a plugin."""
    try:
        with urllib.request.urlopen(f"{address}data/plugin/{plugin}/tags", timeout=5) as answer:
            tags: dict[str, Any] = json.load(answer)
    except OSError:
        return False
    return any(tags.values())


def shoot(browser: str, address: str, width: int, height: int, path: Path) -> None:
    """Write what the browser shows."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                *CHROMIUM_FLAGS,
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                f"--screenshot={path}",
                address,
            ],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )


def check(path: Path) -> None:
    """Refuse a picture that would weigh on every clone."""
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {MOST_BYTES}.")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


def main() -> None:
    """Make all of them."""
    parser = argparse.ArgumentParser(description="Make the pictures of docs/assets.")
    parser.add_argument("--run", type=Path, help="a run's folder; by default the example is run")
    run = parser.parse_args().run
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser is None:
        raise SystemExit("There is no Chromium. On Debian: apt-get install chromium")
    ASSETS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        run = run or train(Path(folder))
        for name in PICTURES:
            shutil.copy(run / name, ASSETS / name)
        with tensorboard(run) as address:
            for name, (page, width, height) in PAGES.items():
                shoot(browser, address + page, width, height, ASSETS / name)
    for name in (*PICTURES, *PAGES):
        check(ASSETS / name)


if __name__ == "__main__":
    main()
