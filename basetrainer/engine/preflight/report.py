"""DryRunReport: what a dry run has found."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from basetrainer.engine.preflight.estimate import Estimate
from basetrainer.errors import DryRunError

logger = logging.getLogger(__name__)


@dataclass(repr=False)
class DryRunReport:
    """What a dry run did, and what it found; printed, and in a notebook, it is a table."""

    title: str
    """Whose it is."""

    lines: dict[str, str] = field(default_factory=dict)
    """What was done, by the name of the part."""

    problems: list[str] = field(default_factory=list)
    """What would end the real run, or spoil it."""

    warnings: list[str] = field(default_factory=list)
    """What was logged as a warning, and what looks wrong."""

    estimate: Estimate | None = None
    """What the real run needs; None if no step was reached."""

    seconds: float = 0.0
    """How long the dry run took."""

    def checked(self) -> DryRunReport:
        """Log the table, and return the report if there is no problem in it.

        Raises:
            DryRunError: If there is one; the message has all of them.
        """
        logger.info("%s", self)
        if self.problems:
            raise DryRunError("; ".join(one.rstrip(".") for one in self.problems) + ".")
        return self

    def __repr__(self) -> str:
        count = f"{len(self.problems)} problems, {len(self.warnings)} warnings"
        rows = [f"dry run of {self.title}: {count}, {self.seconds:.1f} s"]
        rows += [f"  {name:<11} {text}" for name, text in self.lines.items()]
        rows += [f"  WARNING     {text}" for text in self.warnings]
        rows += [f"  PROBLEM     {text}" for text in self.problems]
        return "\n".join(rows)


class Listener(logging.Handler):
    """Takes warnings of the package's loggers into a report, each once."""

    def __init__(self, report: DryRunReport) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        text = record.getMessage()
        if text not in self._report.warnings:
            self._report.warnings.append(text)
