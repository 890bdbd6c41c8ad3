"""No public signature changes unseen."""

from __future__ import annotations

import difflib
import sys

import pytest

from tests.house.api import SNAPSHOT, signatures


@pytest.mark.skipif(sys.version_info < (3, 11), reason="signatures read otherwise there")
def test_public_signatures_are_those_of_the_snapshot():
    changes = list(
        difflib.unified_diff(
            SNAPSHOT.read_text("utf-8").splitlines(), signatures().splitlines(), lineterm="", n=0
        )
    )
    assert not changes, (
        "public signatures have changed. If that is meant, say so in CHANGELOG.md and run "
        "python -m tests.house.api:\n" + "\n".join(changes)
    )
