"""A hook of mkdocs: what lies outside docs/ comes onto the site.

Notebooks become pages, with the outputs that they store. Of every other file that a page links to (`../results/...`)
the site gets a copy. Python and Markdown files become `.txt`, which browsers show. A link to what is not there stays as
it is, and the strict build fails.
"""

import json
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(\.\./([^)#\s]+)(#[^)\s]*)?\)")


def _place(path: str) -> str:
    if path.endswith(".ipynb"):
        return posixpath.join("tutorials", f"{Path(path).stem}.md")
    return posixpath.join("files", f"{path}.txt" if path.endswith((".py", ".md")) else path)


def _page(notebook: Path) -> str:
    """A notebook as Markdown."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            if "image/png" in shown:
                parts.append(f"![What the code draws](data:image/png;base64,{''.join(shown['image/png']).strip()})")
            else:
                parts.append(f"```text\n{''.join(output.get('text') or shown['text/plain']).rstrip()}\n```")
    page = "\n\n".join(parts)
    page = page.replace("](../docs/", "](../")
    return re.sub(r"\]\(([\w-]+)\.ipynb\)", r"](\1.md)", page)


def on_files(files, config):
    """Enter every notebook, and every file of the checkout that a page links to."""
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, _place(notebook.name), content=_page(notebook)))
    for page in sorted(Path(config.docs_dir).glob("*.md")):
        for path, _ in LINK.findall(page.read_text(encoding="utf-8")):
            source = ROOT / path
            if source.is_file() and files.get_file_from_path(_place(path)) is None:
                files.append(File.generated(config, _place(path), abs_src_path=str(source)))
    return files


def on_page_markdown(markdown, **_):
    """Point the links at the copies."""
    return LINK.sub(lambda found: f"]({_place(found[1])})" if (ROOT / found[1]).is_file() else found[0], markdown)
