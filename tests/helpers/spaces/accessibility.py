"""Accessibility of a page, as axe sees it."""

from __future__ import annotations

from typing import Any


def serious_faults(page: Any, part: str | None = None) -> list[str]:
    """Ask axe for the serious and critical faults of a page, or of what a selector finds."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{v['impact']} {v['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for v in Axe().run(page, context=part).response["violations"]
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]
