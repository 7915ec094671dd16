"""Why checks were not applied, in few lines: what could not be judged is always said, and said once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from advisor.findings.codes import CODES
from advisor.findings.rules import NotJudged


def reasons(not_judged: Sequence[NotJudged]) -> list[str]:
    """Return why checks were not applied, one line for all runs with the same reason but for its figures.

    >>> from advisor.findings import NotJudged
    >>> reasons([NotJudged("a", check="ADV103", reason="5 values"), NotJudged("b", check="ADV103", reason="6 values")])
    ['2 runs: 5 values, for instance; not checked for spike']
    """
    groups: dict[str, list[NotJudged]] = {}
    for each in not_judged:
        groups.setdefault(re.sub(r"\d[\d.]*", "0", each.reason), []).append(each)
    lines = []
    for group in groups.values():
        n_runs = len({each.run_id for each in group})
        alike = len({each.reason for each in group}) == 1
        checks = dict.fromkeys(CODES[each.check].slug if each.check in CODES else each.check for each in group)
        lines.append(
            f"{n_runs:,} run{'' if n_runs == 1 else 's'}: {group[0].reason}{'' if alike else ', for instance'}; "
            f"not checked for {', '.join(checks)}"
        )
    return lines
