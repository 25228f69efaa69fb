"""Self-contained HTML pages in one style: report pages and data pages fill the same template."""

from __future__ import annotations

import datetime
from typing import Any


def render_page(package: str, template: str, **values: Any) -> str:
    """Return a page as HTML text without any reference to another file or host; values are escaped.

    Args:
        package: Package whose folder `templates` holds the template.
        template: A file that extends `page.html.j2`.
        values: What the template names; `title` and `kind` are needed by all, `date` (UTC, to the minute) is given.
    """
    import jinja2

    loaders = jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("lingula.core")])
    environment = jinja2.Environment(
        loader=loaders, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    date = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template(template).render(date=date, **values)
