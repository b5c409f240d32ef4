"""Which batches a session file holds, in eight bytes for each: a long session costs no memory."""

from __future__ import annotations

from array import array

_GAP_MAX = 64
_ABSENT = -1


class BatchIndex:
    """Per tab and sequence number, the size of the file once that batch was in it."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._dense: dict[str, array[int]] = {}  # sequence numbers count up from 0
        self._far: dict[tuple[str, int], int] = {}  # the few, or forged, that jump ahead

    def end_of(self, tab: str, seq: int) -> int | None:
        """Return the size of the file after a batch; None if it is not there."""
        ends = self._dense.get(tab)
        if ends is not None and seq < len(ends) and ends[seq] != _ABSENT:
            return ends[seq]
        return self._far.get((tab, seq))

    def add(self, tab: str, seq: int, end: int) -> None:
        """Note a batch."""
        ends = self._dense.get(tab)
        if seq - (0 if ends is None else len(ends)) > _GAP_MAX:
            self._far[tab, seq] = end
            return
        if ends is None:
            ends = self._dense[tab] = array("q")
        ends.extend([_ABSENT] * (seq + 1 - len(ends)))
        ends[seq] = end

    def cut_to(self, size: int) -> None:
        """Forget what lies beyond `size`."""
        for ends in self._dense.values():
            for seq, end in enumerate(ends):
                if end > size:
                    ends[seq] = _ABSENT
        self._far = {key: end for key, end in self._far.items() if end <= size}
