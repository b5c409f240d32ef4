"""The IFLLM Space: see what readers looked at, score answers, take part.

python spaces/app.py                        # prepared data in ./ifllm, else a made-up release
python spaces/app.py --data ./ifllm --port 7861
python spaces/app.py --synthetic 24

On Hugging Face this folder is the repository of the Space, and `data/` beside this file the data.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

DEFAULT_PORT = 7860


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, then serve until interrupted."""
    arguments = _parser().parse_args(argv)
    # Both are read when Gradio is imported: nothing is reported home, nothing but us is served.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "0")
    os.environ["GRADIO_SSR_MODE"] = "False"

    from ifllm_hf.errors import IFLLMError

    try:
        from ifllm_hf.capture.serving import check_address

        check_address(arguments.host, arguments.port)  # Gradio takes seconds, the data minutes
        from ifllm_space.demo_data import open_demo_data
        from ifllm_space.shell import serve
    except IFLLMError as error:
        sys.stderr.write(f"app.py: {error}\n")
        return 1
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"app.py: {error.name} is not installed. Install the package with its extra `space` "
            "(in a clone: pip install -e '.[space]').\n"
        )
        return 1
    try:
        data = open_demo_data(arguments.data, synthetic=arguments.synthetic, model=arguments.model)
        sys.stderr.write(f"{data.said}\nGetting ready ...\n")
        serve(data, host=arguments.host, port=arguments.port)
    except IFLLMError as error:
        sys.stderr.write(f"app.py: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="app.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, metavar="DIR", help="what `ifllm prepare` wrote")
    source.add_argument(
        "--synthetic", type=_positive, metavar="N", help="make up N conversations instead"
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="a trained reward model to score with beside the small ones",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=os.environ.get("GRADIO_SERVER_PORT", str(DEFAULT_PORT)),
        help="default: $GRADIO_SERVER_PORT, else %(default)s",
    )
    in_space = "SPACE_ID" in os.environ
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0" if in_space else "127.0.0.1"),
        help="default: this machine alone; everywhere in a Space",
    )
    return parser


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; expected 1 to 65535")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


if __name__ == "__main__":
    sys.exit(main())
