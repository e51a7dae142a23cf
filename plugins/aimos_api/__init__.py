"""The AIMOS API: its routes, fields and error names, over the services of others; it holds nothing.

What is there so far: accounts. (Its documentation pages and `/api/health` are the hub's own.)
"""

from __future__ import annotations

from kernel import Plugin

from . import authentication

aimos_api = Plugin(
    "aimos_api",
    version="1.0.0",
    description="The AIMOS API: accounts under /api/auth.",
    category="api",
    requires={"login": ">=1.0"},
)
authentication.add(aimos_api)
