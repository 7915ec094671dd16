"""What the pages work with, wired in one place: the advisor, the options, the templates, what changes live."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse

from advisor import __version__
from advisor.findings.codes import CODES
from advisor.silencing import LiveBook
from advisor.triage import Overview, Triage
from advisor.web import render
from advisor.web.commands import Shell
from advisor.web.curves import Curves
from advisor.web.live import Live
from advisor.web.memo import Memo
from advisor.web.options import Options
from storage.errors import StorageError
from storage.records import Finding

if TYPE_CHECKING:
    import jinja2

    from advisor.app import Advisor

KEEP_S: Final = 0.5
"""How long one look at what needs a person serves all who ask, where nothing has come meanwhile."""


@dataclass(frozen=True)
class Web:
    """Everything that a page needs; ``Web.of(request)`` finds it."""

    adv: Advisor
    options: Options
    live: Live = field(init=False, repr=False, compare=False)
    """What tells viewers of changes."""
    curves: Curves = field(init=False, repr=False, compare=False)
    """Curves that charts asked for, kept for a while."""
    memo: Memo = field(default_factory=Memo, init=False, repr=False, compare=False)
    """What was worked out for one viewer and serves the next."""
    _looks: _Looks = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "live", Live(lambda: self.adv.store))
        object.__setattr__(self, "curves", Curves(self.adv.store))
        object.__setattr__(self, "_looks", _Looks(self.adv))

    @classmethod
    def of(cls, request: Request) -> Web:
        """Return what the application of a request works with."""
        found: Web = request.app.state.web
        return found

    def triage(self) -> Triage:
        """Return what needs a person now, as of this commit, at most ``KEEP_S`` ago."""
        return self._looks.now(self.live.n_changes)

    @property
    def book(self) -> LiveBook:
        """The book of alerts, kept current."""
        return self.adv.alerts

    def finding(self, finding_id: str) -> Finding | None:
        """Return a finding as its run tells it now, None where it is gone."""
        with self.book.reading() as book:
            seen = book.findings.get(finding_id)
        entry = None if seen is None else self.adv.store.state().entry(seen.finding.run_id)
        if entry is None or entry.hidden:
            return None
        return next((each for each in entry.run.findings if each.id == finding_id), None)

    @cached_property
    def shell(self) -> Shell:
        """What commands that are copied from a page say, so that they find this store."""
        return Shell.of(self.adv.opening.uri)

    @cached_property
    def templates(self) -> jinja2.Environment:
        """The templates, with what all of them may use: ``ui`` holds the shared macros, ``codes`` the finding codes."""
        env = render.environment()
        env.globals |= render.shared(read_only=self.options.read_only, store=self.adv.opening.uri, version=__version__)
        env.globals |= {"codes": CODES, "store_version": self._version, "shell": self.shell}
        env.globals["ui"] = env.get_template("_macros.html.j2").module
        return env

    def _version(self) -> int:
        """Return the store's last commit, 0 where it cannot be read: then a page that says so is shown."""
        try:
            return self.adv.store.state().version
        except StorageError:
            return 0

    def page(self, request: Request, template: str, *, status: int = 200, **given: Any) -> HTMLResponse:
        """Return a template as an answer; of one that htmx asks for only the part that it replaces.

        Parameters
        ----------
        template
            ``name.html.j2``. Where htmx asks for an element by its id (its ``HX-Target``) and the template has a block
            of that name, only this block is rendered.
        """
        found = self.templates.get_template(template)
        target = request.headers.get("hx-target", "")
        part = target.replace("-", "_")
        given |= {"request": request, "path": request.url.path}
        headers = {"vary": "HX-Request, HX-Target"}
        if request.headers.get("hx-request") and part in found.blocks and not request.headers.get("hx-boosted"):
            context = found.new_context(given)
            return HTMLResponse("".join(found.blocks[part](context)), status, headers)
        return HTMLResponse(found.render(given), status, headers)


class _Looks:
    """One look at what needs a person, shared by all who ask within a moment."""

    def __init__(self, adv: Advisor) -> None:
        self._adv = adv
        self.overview = Overview(adv.store, book=adv.alerts)
        self._last: tuple[float, tuple[int, int], Triage] | None = None
        self._lock = threading.Lock()

    def now(self, n_changes: int) -> Triage:
        with self._lock:
            at, last = (self._adv.store.state().version, n_changes), self._last
            if last is None or time.monotonic() - last[0] > KEEP_S or last[1] != at:
                self._last = last = (time.monotonic(), at, self.overview.look(self._adv.clock()))
            return last[2]
