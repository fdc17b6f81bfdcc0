"""A hook of mkdocs: pages link to files of the checkout (`../results/...`), so the site gets a copy of each.

Python and Markdown files become `.txt`, which browsers show. A link to what is not there stays as it is, and the strict
build fails.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(\.\./([^)#\s]+)(#[^)\s]*)?\)")


def _place(path: str) -> str:
    return posixpath.join("files", f"{path}.txt" if path.endswith((".py", ".md")) else path)


def on_files(files, config):
    """Enter every file of the checkout that a page links to."""
    for page in sorted(Path(config.docs_dir).glob("*.md")):
        for path, _ in LINK.findall(page.read_text(encoding="utf-8")):
            source = ROOT / path
            if source.is_file() and files.get_file_from_path(_place(path)) is None:
                files.append(File.generated(config, _place(path), abs_src_path=str(source)))
    return files


def on_page_markdown(markdown, **_):
    """Point the links at the copies."""
    return LINK.sub(lambda found: f"]({_place(found[1])})" if (ROOT / found[1]).is_file() else found[0], markdown)
