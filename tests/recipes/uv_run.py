"""`make uv-test`: a recipe alone in an empty folder, run by uv against the wheel; not in CI.

    python -m tests.recipes.uv_run

uv is installed into a temporary folder. It makes an environment of what the recipe's header names;
versions are held to constraints.txt, else it would fetch gigabytes of CUDA. The package comes from
the wheel, for it is on no index.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The dry runs of two recipes, and a pipeline that reads all its files and trains nothing.
_RUNS = (
    ("sft.py", "--config", "sft-smoke", "--output_dir", "out", "--max_steps", "2"),
    ("pipeline.py", "--config", "refresh", "--data", "made-up", "--status"),
)


def main() -> int:
    """Build, run, and return 1 if a run failed."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _pip("install", "--target", str(place / "uv"), "uv")
        _pip("wheel", "--no-deps", "--wheel-dir", str(place / "dist"), str(ROOT))
        for number, (name, *arguments) in enumerate(_RUNS):
            alone = place / f"alone-{number}"
            alone.mkdir()
            (alone / name).write_text(_held_to_constraints(ROOT / "recipes" / name))
            command = [str(place / "uv" / "bin" / "uv"), "run", "--no-project"]
            command += ["--python", sys.executable, "--find-links", str(place / "dist")]
            sys.stdout.write(f"uv run {name} {' '.join(arguments)}\n")
            sys.stdout.flush()
            environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
            if "made-up" in arguments:
                script = (
                    "import sys; from ifllm_hf.data.prepared.prepare import prepare_synthetic; "
                    "prepare_synthetic(6, 'made-up', progress=False)"
                )
                subprocess.run([sys.executable, "-c", script], cwd=alone, check=True)
            if subprocess.run([*command, name, *arguments], cwd=alone, env=environment).returncode:
                return 1
    return 0


def _held_to_constraints(recipe: Path) -> str:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("#")[0].strip() for line in lines]
    listed = "".join(f'#   "{pin}",\n' for pin in pins if pin)
    held = f"# [tool.uv]\n# constraint-dependencies = [\n{listed}# ]\n# ///\n"
    opening, closing, rest = recipe.read_text(encoding="utf-8").partition("# ///\n")
    assert closing, f"{recipe}: no header that ends"
    return opening + held + rest


def _pip(*arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", *arguments, *quiet], check=True)


if __name__ == "__main__":
    raise SystemExit(main())
