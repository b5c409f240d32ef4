"""`ifllm demo`: the whole line in minutes on a CPU, and one page that shows what came out.

* `run`: prepare, load, score held out by reader, a score with its parts, pairs, two DPO runs
* `scored_turn`, `two_runs`: the steps that take more than a call
* `demo_page`, `demo_page.html`: the page; `page_pictures`: its figures
* `quiet`: what libraries print that says nothing to who runs the demo
"""

from __future__ import annotations

from ifllm_hf.demo.run import run_demo

__all__ = ["run_demo"]
