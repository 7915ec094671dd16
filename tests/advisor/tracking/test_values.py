from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from advisor.tracking.values import Tally
from storage.curves import summaries
from storage.records import Curve


@given(st.lists(st.floats(), max_size=120), st.sampled_from(["last", "best", "mean-last-3"]))
def test_a_tally_says_what_the_whole_curve_would(values: list[float], reduce: str) -> None:
    tally = Tally(reduce)
    for step, value in enumerate(values):
        tally.add(step, value)
    whole = summaries({"m": Curve.of("m", range(len(values)), values)}, reduce=reduce)["m"]
    grown = tally.summary(reduce)
    assert grown.keys() == whole.keys()
    for name, figure in whole.items():
        ours = grown[name]
        same = ours == figure or (
            isinstance(figure, float) and math.isclose(ours, figure, rel_tol=1e-9, abs_tol=1e-300)
        )
        both_nan = isinstance(figure, float) and math.isnan(figure) and math.isnan(ours)
        overflow = name == reduce and figure is not None and not math.isfinite(figure)  # a mean beyond all floats
        assert same or both_nan or overflow, name
