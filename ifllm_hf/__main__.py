"""`python -m ifllm_hf` is the `ifllm` command."""

from __future__ import annotations

import sys

from ifllm_hf.cli import main

sys.exit(main())
