"""Whose fault is a failed training? 540 real ones, whose failures have no cause but the learning rate.

    python evals/configuration_deepobs.py [--out PATH]

Reads ``deepobs/`` as ``findings_deepobs`` does, applies the rules and then ``advisor.findings.configuration``. Every
run that diverged or never learned is a bad configuration; to hold one for broken, or to leave it open, costs a message.
Nothing was fitted to these runs. What they cannot show is how many broken runs are taken for a configuration.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from findings_deepobs import NOW, OBJECTIVE, data_folder, load

from advisor.findings.codes import CODES
from advisor.findings.configuration import CONFIGURATION, explained
from advisor.findings.rules import judge
from storage.records import Severity

WORDS = {True: "configuration", False: "broken", None: "undecided"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    counted: Counter[tuple[str, str]] = Counter()
    runs_of, curves = load(data_folder())
    for runs in runs_of.values():
        judged = [judge(run, curves[run.id], objective=OBJECTIVE, siblings=None, now=NOW) for run in runs]
        for finding in explained([finding for one in judged for finding in one.findings], runs):
            if CODES[finding.code].may_be_configuration and finding.severity is not Severity.INFO:
                counted[CODES[finding.code].slug, WORDS[finding.evidence.get(CONFIGURATION)]] += 1
    for slug in sorted({slug for slug, _ in counted}):
        row = {word: counted[slug, word] for word in WORDS.values()}
        print(f"{slug:15} {sum(row.values()):4}  " + "  ".join(f"{word} {n}" for word, n in row.items()))
    if given.out:
        given.out.write_text(json.dumps({f"{slug} {word}": n for (slug, word), n in sorted(counted.items())}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
