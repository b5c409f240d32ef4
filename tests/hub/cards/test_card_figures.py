from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ifllm_hf.hub.cards.dataset_card import rewrite_card, write_card
from tests.helpers import prepared_folder
from tests.helpers.fresh_process import with_package


def test_figures_are_solid_and_the_same_each_time(made_up: Path) -> None:
    from matplotlib.image import imread

    first = {p.name: p.read_bytes() for p in (made_up / "figures").iterdir()}
    assert set(first) == {"reading.png", "heat.png", "intervals.png"}
    rewrite_card(made_up)
    for path in (made_up / "figures").iterdir():
        assert path.read_bytes() == first[path.name]
        pixels = imread(path)
        assert pixels.shape[2] == 3 or bool((pixels[..., 3] == 1).all())
        assert (pixels[0, 0, :3] == 1).all() and (pixels[-1, -1, :3] == 1).all()
        assert pixels[..., :3].std() > 0.02, "an empty picture"


def test_drawing_leaves_matplotlib_as_it_was(made_up: Path) -> None:
    code = (
        "import sys, matplotlib; from pathlib import Path\n"
        "from ifllm_hf.hub.cards.dataset_card import write_card\n"
        "matplotlib.rcParams['font.size'] = 3.0; matplotlib.rcParams['axes.facecolor'] = 'black'\n"
        f"write_card(Path({str(made_up)!r}))\n"
        "assert matplotlib.rcParams['font.size'] == 3.0\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    before = (made_up / "figures" / "reading.png").read_bytes()
    subprocess.run([sys.executable, "-c", code], env=with_package(), check=True)
    assert (made_up / "figures" / "reading.png").read_bytes() == before


def test_without_matplotlib_the_card_says_how_to_get_the_figures(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    card = write_card(folder)
    assert "pip install matplotlib" in card
    assert "figures/" not in card and not (folder / "figures").exists()


def test_no_figure_of_a_turn_where_there_is_none(tmp_path: Path) -> None:
    out = prepared_folder.write(tmp_path / "ifllm", conversations=iter(())).path
    card = write_card(out)
    assert "figures/" not in card and "What readers did" not in card
    assert "pip install matplotlib" not in card
