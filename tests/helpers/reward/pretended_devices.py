"""Devices that are not there: tensors in memory that cannot be mixed unless they are moved."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import infer_auto_device_map
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map_only

PLACES = (torch.device("cuda:0"), torch.device("cuda:1"))


class PretendedDevices(TorchFunctionMode):
    """Keeps for every tensor where it pretends to be, and refuses to compute across places."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func == torch.Tensor.device.__get__:
            return place_of(args[0])
        flat = tree_flatten((args, kwargs))[0]
        tensors = [x for x in flat if isinstance(x, torch.Tensor)]
        place = None
        for x in flat:
            if isinstance(x, torch.device):
                place = x
        if func is torch.Tensor.to:
            place = place or place_of(tensors[-1])
        elif place is None:
            places = {place_of(x) for x in tensors if x.dim()}
            if len(places) > 1:
                raise RuntimeError(f"{func.__name__} over {places}")
            place = next(iter(places), place_of(tensors[0]) if tensors else PLACES[0])
        cpu = torch.device("cpu")
        args, kwargs = tree_map_only(torch.device, lambda _: cpu, (args, kwargs))
        out = func(*args, **kwargs)
        for x in tree_flatten(out)[0]:
            if isinstance(x, torch.Tensor):
                if any(x is given for given in tensors) and place_of(x) != place:
                    out = x.clone()  # moved, so no longer the same
                    out._place = place
                else:
                    x._place = place
        return out


def place_of(tensor: torch.Tensor) -> torch.device:
    return tensor.__dict__.get("_place", PLACES[0])


def splits(model: Any, shares: range) -> list[dict[str, int]]:
    """The different maps over two devices that accelerate makes as the first one grows."""
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    found = []
    for share in shares:
        memory = {0: size * share // 100, 1: 3 * size}
        split = infer_auto_device_map(
            model, memory, no_split_module_classes=list(model._no_split_modules)
        )
        if set(split.values()) == {0, 1} and split not in found:
            found.append(dict(split))
    return found


def spread(model: Any, split: dict[str, int]) -> None:
    """Put the weights of a model where a map says, and have its modules move what they are given.

    As accelerate's hooks do: each module under an entry of the map.
    """

    def moved(x: Any, place: torch.device) -> Any:
        return tree_map_only(torch.Tensor, lambda t: t.to(place), x)

    def of(name: str) -> torch.device | None:
        fits = [k for k in split if name == k or name.startswith(f"{k}.")]
        return PLACES[split[max(fits, key=len)]] if fits else None

    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        tensor._place = of(name)
    for name, module in model.named_modules():
        place = of(name)
        if place is not None:
            module.register_forward_pre_hook(
                lambda _, args, kwargs, place=place: (moved(args, place), moved(kwargs, place)),
                with_kwargs=True,
            )
