"""What the pages work with, wired in one place: the advisor, the options, the templates, what changes live."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import HTMLResponse

from advisor import __version__
from advisor.web import render
from advisor.web.options import Options

if TYPE_CHECKING:
    import jinja2

    from advisor.app import Advisor


@dataclass(frozen=True)
class Web:
    """Everything that a page needs; ``Web.of(request)`` finds it."""

    adv: Advisor
    options: Options

    @classmethod
    def of(cls, request: Request) -> Web:
        """Return what the application of a request works with."""
        found: Web = request.app.state.web
        return found

    @cached_property
    def templates(self) -> jinja2.Environment:
        """The templates, with what all of them may use."""
        env = render.environment()
        env.globals |= render.shared(read_only=self.options.read_only, store=self.adv.opening.uri, version=__version__)
        return env

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
