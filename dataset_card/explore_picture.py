"""Make docs/explore.png, the picture of the README: one made-up turn, as `plot_turn` draws it.

    python dataset_card/explore_picture.py --out docs/explore.png

The texts below are shown to made-up readers, whose behaviour speaks for the answer that they like
nine times in ten. Of their turns the picture shows the one that the dataset card would show too: a
preference, a rating that was found, and gaze and mouse on the same answer for the largest part of
reading (`ifllm_hf.hub.cards.shown_turn`).
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.synthetic import Readers, write_synthetic_release
from ifllm_hf.errors import DataError
from ifllm_hf.files import write_whole
from ifllm_hf.hub.cards.shown_turn import choose_turn
from ifllm_hf.plot.canvas import bare_figure, file_style, save_png
from ifllm_hf.plot.drawn_turn import drawn_turn
from ifllm_hf.plot.turn_figure import draw_turn
from ifllm_hf.training.recipe_arguments import recipe_main

_CONVERSATIONS, _TICKS_PER_TURN, _SEED = 6, 420, 0
_DPI, _COLOURS = 200, 96

# Two answers to each question: one says why, one lists.
_TEXTS: dict[str, tuple[str, str]] = {
    "Why is the sky blue, and why is it red in the evening?": (
        "Sunlight holds all colours. On its way through the air it meets molecules that are much "
        "smaller than the waves of light, and these scatter **short waves far more than long "
        "ones**: blue about four times as much as red. So from every part of the sky some blue "
        "light is turned towards you, whichever way you look.\n"
        "In the evening the sun stands low and its light has crossed ten times as much air. By "
        "then most of the blue has been scattered out of the beam, to make somebody else's sky "
        "blue, and what is left to reach you is orange and red.\n"
        "Violet is scattered even more than blue, but the sun sends less of it, the upper air "
        "takes some away, and our eyes hardly see it.",
        "Here are the main reasons:\n"
        "1. **Rayleigh scattering**: molecules of air scatter light in proportion to one over the "
        "fourth power of its wavelength.\n"
        "2. **Blue is short**: 450 nm against 650 nm for red, hence the colour of the sky by day.\n"
        "3. **A longer way at sunset**: the light of a low sun loses its blue on the way.\n"
        "4. **Dust and smoke**: larger particles make the red of the evening stronger.\n"
        "5. **Our eyes**: they see blue better than violet.\n"
        "In short: the sky is blue because blue light is scattered most, and red in the evening "
        "because red light is scattered least.",
    ),
    "How does a sourdough starter make bread rise without any yeast from a packet?": (
        "It does have yeast: wild ones, from the flour and from the air. In a paste of flour and "
        "water they live together with bacteria that make lactic and acetic acid.\n"
        "The yeasts eat sugars that enzymes free from the starch, and give off **carbon dioxide**. "
        "Kneading has turned the proteins of the flour into a net of gluten, and this net holds "
        "the gas in bubbles: the dough rises.\n"
        "The acids give the taste, keep moulds away and make the gluten firmer, so the bread keeps "
        "longer. Since wild yeasts are slow, the dough needs four to twelve hours where a packet "
        "of baker's yeast needs one.",
        "A sourdough starter works like this:\n"
        "- **Flour and water** are mixed and left in a warm place.\n"
        "- **Wild yeast** begins to grow after a few days; feed it daily.\n"
        "- **Lactic acid bacteria** make the starter sour.\n"
        "- **Gas** from the yeast fills the dough with bubbles.\n"
        "- **Heat** of the oven makes the bubbles larger before the crust is firm.\n"
        "A starter is ready when it doubles in size within six hours of being fed, smells of "
        "yoghurt or apples, and a spoonful of it floats on water. Always keep some of it back: "
        "with flour and water it is the starter of the next loaf.",
    ),
    "Why do cats purr?": (
        "Nobody knows for certain, but how they do it is known: muscles of the larynx open and "
        "close the glottis about 25 times a second, as the cat breathes in **and** out.\n"
        "Kittens purr when they drink; it tells the mother that all is well, and she answers. "
        "Grown cats purr when they are stroked, but also when they are hurt or afraid, so it "
        "is not only a sign of pleasure. One idea is that it soothes the cat itself. Another is "
        "that vibrations of 25 to 50 Hz help bones to heal, which has been seen in people and "
        "sheep, not yet in cats.\n"
        "Some add a cry to the purr when they want food, at the pitch of a baby's: few people can "
        "pass over it.",
        "Cats purr for many reasons:\n"
        "1. **Contentment**: being stroked, lying in the sun.\n"
        "2. **Hunger**: a purr with a high cry in it.\n"
        "3. **Stress**: at the vet, or after a fall.\n"
        "4. **Contact**: between a mother and her kittens.\n"
        "5. **Healing**: perhaps; the evidence is thin.\n"
        "The sound is made in the larynx by muscles that twitch 25 to 50 times a second. Big cats "
        "that roar, such as lions, cannot purr like that; cheetahs and pumas can. If your cat "
        "purrs and hides, eats little or breathes fast, ask a vet.",
    ),
}


def write_picture(out: Path) -> int:
    """Write the picture; return its size in bytes.

    Raises:
        DataError: No turn is fit to be shown.
    """
    with tempfile.TemporaryDirectory() as place:
        readers = Readers(texts=_texts, pairwise_only=True)
        write_synthetic_release(
            Path(place) / "release",
            conversations=_CONVERSATIONS,
            seed=_SEED,
            readers=readers,
            defects=False,
            ticks_per_turn=_TICKS_PER_TURN,
        )
        made = prepare(Path(place) / "release", Path(place) / "ifllm", progress=False)
        found = choose_turn([Path(file) for file in config_files(made.folder.path, "pairwise")])
    if found is None:
        raise DataError("no made-up turn is fit to be shown; change the seed")
    with file_style():
        turn = drawn_turn(found.row | {"domain": "made-up readers"})
        axes = draw_turn(turn, bare_figure)
        drawn = io.BytesIO()
        save_png(axes[0].figure, drawn, _DPI)
    small = _fewer_colours(drawn)
    write_whole(out, small)
    return len(small)


def _texts(turn: int, sides: int) -> tuple[str, Sequence[str]]:
    """Return the texts in turn, the answers now in one order, now in the other."""
    question, answers = list(_TEXTS.items())[turn % len(_TEXTS)]
    return question, answers[:: 1 if turn // len(_TEXTS) % 2 else -1][:sides]


def _fewer_colours(png: io.BytesIO) -> bytes:
    """Return a picture with a palette: a third of the bytes, and no eye sees it."""
    from PIL import Image

    png.seek(0)
    small = io.BytesIO()
    Image.open(png).convert("RGB").quantize(_COLOURS).save(small, "PNG", optimize=True)
    return small.getvalue()


def run() -> str:
    """Parse the command line, write the picture; return where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/explore.png"))
    out: Path = parser.parse_args().out
    return f"{out}: {write_picture(out) / 1000:.0f} kB"


if __name__ == "__main__":
    sys.exit(recipe_main(run, level=logging.WARNING, interrupted="run it again"))
