"""Where all this comes from: paper, data, code, licence, and how to cite it."""

from __future__ import annotations

from ifllm_hf.data.raw.download import COMMIT, REPOSITORY
from ifllm_space.demo_data import DemoData

PAPER = "2606.20482"
CODE_URL = ""
"""Where the public can read this code; empty until there is such a place, and then no link."""

_CITE = """
## How to cite

Cite the paper for the data, and name `ifllm_hf` if you use its tools.

```bibtex
@article{chang2026mouse,
  title   = {Your Mouse and Eyes Secretly Leak Your Preference:
             {LLM} Alignment using Implicit Feedback from Users},
  author  = {Chang, Haw-Shiuan and Gomez, Jeffrey and Patwari, Mehul and
             Sajith, Aryan and Zamani, Hamed},
  journal = {arXiv preprint arXiv:2606.20482},
  year    = {2026}
}
```
"""


def about_data(data: DemoData) -> str:
    """Return the text, in Markdown."""
    lines = [
        f"* Paper: [arXiv:{PAPER}](https://arxiv.org/abs/{PAPER}), "
        "*Your Mouse and Eyes Secretly Leak Your Preference*",
        f"* Released data: [{REPOSITORY}](https://github.com/{REPOSITORY}), "
        f"commit `{COMMIT[:12]}`, Apache License 2.0",
        "* Code: "
        + (f"[ifllm_hf]({CODE_URL})" if CODE_URL else "`ifllm_hf`")
        + ", Apache License 2.0",
    ]
    return "\n".join(["## What this shows", data.said, "", *lines, _CITE])
