"""``python -m advisor.cli`` does what ``advisor`` does."""

from __future__ import annotations

import sys

from advisor.cli import main

sys.exit(main())
