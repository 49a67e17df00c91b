"""Files of a report made of their templates, which lie beside this one and ask for tables and sentences themselves."""

from __future__ import annotations

from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from regrow.report import wording
from regrow.report.diagnostic_tables import diagnostic_tables
from regrow.report.partner_tables import partner_tables
from regrow.report.sweep.tables import best_table, cells_table, panels_table
from regrow.report.sweep.told import choice, findings, headline, outcome
from regrow.report.table import (
    activity_table,
    arms_table,
    as_markdown,
    overview_table,
    paired_table,
)
from regrow.report.task_tables import rates_table
from regrow.report.verdict import caution, standing, verdicts

_CALLED: Final = (
    *(activity_table, arms_table, best_table, cells_table, diagnostic_tables, overview_table),
    *(paired_table, panels_table, partner_tables, rates_table, as_markdown),
    *(caution, choice, findings, headline, outcome, standing, verdicts, wording.count),
)
"""What templates call."""


def filled(name: str, **given: object) -> str:
    """Fill a template in: a name that is not there is an error, and every text on a page of HTML is escaped."""
    look = Environment(
        loader=PackageLoader("regrow.report", ""),
        undefined=StrictUndefined,
        autoescape=select_autoescape(),
        keep_trailing_newline=True,
    )
    look.filters["unbroken"] = wording.unbroken
    called = {each.__name__: each for each in _CALLED}
    return look.get_template(name).render({**called, **given})
