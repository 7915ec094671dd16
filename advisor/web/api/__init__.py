"""The JSON API: every operation of ``advisor.operations`` at an address of its own, described by OpenAPI.

Leaves out what the operations do, and who may ask (``advisor.web.security``). Invariant: an answer is what the
document at ``/api/openapi.json`` says, errors included.
"""

from __future__ import annotations

from advisor.web.api.routes import routes_of

__all__ = ["routes_of"]
