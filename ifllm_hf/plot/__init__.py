"""Figures: one turn, how it was read, and what the benchmark says. Needs the extra `plot`.

* `plot_turn`, `plot_reading`, `plot_report`: the three to call; each returns matplotlib Axes
* `drawn_turn`: a row as figures need it; `text_heat`, `lanes`: heat on a text, places over time
* `canvas`: colours, blank figures, marks with intervals, the style of files; `wrapped_text`
* `benchmark_report`, `judge_report`, `tick_intervals`: the figures of reports and cards

Nothing here imports matplotlib before it draws, and no other room imports it at all.
"""

from __future__ import annotations

from ifllm_hf.plot.reading_figure import plot_reading
from ifllm_hf.plot.score_forest import plot_report
from ifllm_hf.plot.turn_figure import plot_turn

__all__ = ["plot_reading", "plot_report", "plot_turn"]
