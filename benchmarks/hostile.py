"""Give a run the files of somebody hostile: nothing may be executed, little memory taken.

    python -m benchmarks.hostile

Each file stands in turn in the place of the state of a checkpoint (with a manifest whose hashes
are right), of ``model_optimizer.pth`` and of the weights for ``finetune`` and ``trainer.test``.
Then come manifests and YAML files. Memory is the peak above what the process had before, whose
address space may grow by 2 GiB.
"""

from __future__ import annotations

import functools
import logging
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scenarios.hostile import PLACES, Outcome, Victim, memory, outcome, read_yaml
from scenarios.hostile_files import FILES, GIANTS, MANIFESTS, PICKLES, YAMLS


def outcomes(victim: Victim) -> Iterator[tuple[str, str, Outcome]]:
    """Yield what came of each file in each place."""
    for case in (*PICKLES, *GIANTS, *FILES):
        for place in PLACES:
            path, read = victim.reader(place)
            victim.put(path, case)
            yield case, place, outcome(read)
    for case in MANIFESTS:
        victim.put_manifest(case)
        yield case, "manifest", outcome(victim.read_manifest)
    for case, text in YAMLS.items():
        yield case, "YAML", outcome(functools.partial(read_yaml, text))


def main() -> None:
    """Print a table."""
    logging.lastResort = None
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        victim = Victim(Path(folder))
        limit = int(memory("VmSize") * 2**20) + (2 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        found = list(outcomes(victim))
        os.chdir("/")
    print("| file | place | executed | MiB | s | what was said |")
    print("|---|---|---|---|---|---|")
    for case, place, one in found:
        said = str(one.error).replace(folder, "") if one.error else "(left out, and said)"
        row = (case, place, "YES" if one.executed else "no", f"{one.mebibytes:.0f}")
        print(f"| {' | '.join(row)} | {one.seconds:.2f} | {said} |")
    clear = sum(one.is_clear for *_, one in found)
    most, longest = (
        max(getattr(one, name) for *_, one in found) for name in ("mebibytes", "seconds")
    )
    print(
        f"\n{len(found)} readings: {sum(one.executed for *_, one in found)} executed something, "
        f"{clear} were answered in one line; at most {most:.0f} MiB and {longest:.1f} s each"
    )
    sys.exit(clear < len(found))


if __name__ == "__main__":
    main()
