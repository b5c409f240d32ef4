r"""Line ends that another system or tool wrote into the files of a release.

Texts of a release break their lines with LF alone: a character of an answer is counted from its
start, so a file that was converted on its way (`\r\n`, or `\r`) would lose characters. A CSV writer
that ends its *records* with CRLF, as RFC-4180 has it, leaves the texts as they were.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Sequence

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.errors import TableError

_OWN_SHARE = 0.05  # the release itself has 29 CRLF among 30,634 line breaks inside texts
_LONE_RETURN = re.compile(r"\r(?!\n)")
# A record of a behaviour file ends with an epoch of 13 digits, now and then with a stray quote.
_BEHIND_EPOCH = re.compile(rb'(,[0-9]{13}"?)(\r\n?)')


def mend_texts(
    raw: bytes, records: list[list[str]], starts: Sequence[int], name: str
) -> list[bool]:
    r"""Break the lines inside the cells of a converted table with LF again, in place.

    A record was converted if it ends with CRLF and holds no LF alone. A return alone inside a text
    is a line break in any case; a page shows it as one.

    Args:
        raw: The table.
        records: Its cells.
        starts: Where each record begins in `raw`.
        name: The file, for messages.

    Returns:
        Per record, whether a cell was mended.

    Raises:
        TableError: Records end with CRLF, and the texts in them have both kinds of line breaks, so
            that nobody can tell which are the text's own.
    """
    mended = [False] * len(records)
    if b"\r" not in raw:
        return mended
    ends = [*starts[1:], len(raw)]
    ours = [i for i, end in enumerate(ends) if raw.endswith(b"\r\n", starts[i], end)]
    if ours and ours[-1] == len(records) - 2 and not raw.endswith(b"\n"):
        ours.append(len(records) - 1)  # the last record needs no line end
    both = ["".join(records[i]) for i in ours]
    converted = sum(text.count("\r\n") for text in both)
    plain = sum(text.count("\n") for text in both) - converted
    if plain and converted > _OWN_SHARE * (plain + converted):
        raise TableError(
            f"{name}: records end with CRLF, and the texts in them have {converted} line breaks of "
            f"CRLF and {plain} of LF alone; expected one kind. Restore the file from the release."
        )
    # Behind them may stand a record that the conversion broke off in.
    windows = set() if plain else {*ours, *(i + 1 for i in ours)}
    for i, record in enumerate(records):
        cells = [c.replace("\r\n", "\n") for c in record] if i in windows else record
        cells = [_LONE_RETURN.sub("\n", c) for c in cells]
        mended[i], records[i] = cells != record, cells
    return mended


def mend_behavior(raw: bytes) -> tuple[bytes, Counter[str]]:
    """Return a behaviour file with LF behind every record and no byte order mark.

    Where all lines end with CRLF, those inside the windows are LF again too.

    Returns:
        The file, and the records that this mended, by what was mended.
    """
    mended: Counter[str] = Counter()
    if raw.startswith(codecs.BOM_UTF8):
        raw = raw.removeprefix(codecs.BOM_UTF8)
        mended["byte order mark"] = 1
    if b"\r" in raw:
        ends = _BEHIND_EPOCH.findall(raw)
        if any(end == b"\r\n" for _, end in ends) and raw.count(b"\n") == raw.count(b"\r\n"):
            raw = raw.replace(b"\r\n", b"\n")
        raw = _BEHIND_EPOCH.sub(rb"\1\n", raw)
        mended["line ends of another system"] = len(ends)
    return raw, mended


def count_mended(ledger: Ledger, mended: Counter[str]) -> None:
    """Count what `mend_behavior` mended; a record with two repairs counts under one of them."""
    for reason, n in mended.items():
        ledger.repair(reason, min(n, ledger.kept - ledger.repaired.total()))
