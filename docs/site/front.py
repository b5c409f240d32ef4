"""The pages as the site shows them: README in front, and links that lead somewhere there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(#[^)]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the public addresses from pyproject.toml; where it has none, no page names one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    urls = project.get("urls", {})
    config.site_url = urls.get("Documentation", "")
    config.repo_url = urls.get("Repository", "")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put README in front; its links start in the root, those of the site in docs/."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=readme.replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, config: MkDocsConfig, page: Any, **_: Any) -> str:
    """Lead links to files outside docs/ to the repository; where it has no address, to nowhere."""
    folder = Path(config.docs_dir, page.file.src_uri).parent

    def elsewhere(link: re.Match[str]) -> str:
        file = (folder / link[2]).resolve()
        if file.is_relative_to(config.docs_dir) or not file.exists():
            return link[0]
        if not config.repo_url:
            return link[1]
        place = file.relative_to(ROOT).as_posix()
        return f"[{link[1]}]({config.repo_url.rstrip('/')}/blob/main/{place}{link[3] or ''})"

    return _LINK.sub(elsewhere, markdown)
