"""Makes libraries know us as soon as they are loaded, whoever is imported first.

`register()` runs on `import ifllm_hf`. A library that is loaded already is hooked at once; one that
comes later is hooked when its import ends, without importing it here.

* `datasets`: the name "ifllm" resolves to `ifllm_hf.data.prepared.ifllm`. There is no plugin
  mechanism, so this wraps one private function; where that function is gone,
  `load_dataset("ifllm")` says what to do instead.
* `transformers`: the Auto classes know our configuration, models and processor, and `pipeline` our
  task. Each hook waits for the module of one family of these, so that `import transformers` stays
  as light as it is.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

DATASET_NAME = "ifllm"
TASK = "implicit-reward"
_OURS = "ifllm_hf.reward.model"
_AUTO = {
    "configuration": {"AutoConfig": "IFLLMConfig"},
    "modeling": {
        "AutoModel": "IFLLMModel",
        "AutoModelForSequenceClassification": "IFLLMForRewardModeling",
    },
    "feature_extraction": {"AutoFeatureExtractor": "IFLLMFeatureExtractor"},
    "processing": {"AutoProcessor": "IFLLMProcessor"},
}
"""Kind of module, theirs and ours -> the Auto classes in theirs, and the class in ours."""

_MOVED = (
    'load_dataset("ifllm") cannot be resolved: this version of `datasets` ({version}) has moved '
    "the internals that ifllm_hf hooks into. Expected was `datasets` 5.2 or a compatible version. "
    'Write the folder with `ifllm prepare` and load it with load_dataset("./ifllm").'
)

# Module that must be loaded -> what to do then.
_HOOKS: dict[str, Callable[[], None]] = {}
_LOCK = threading.RLock()
# Its `asking` is set in a thread that asks whether a module is loaded; see `_is_loaded`.
_THREAD = threading.local()


def when_loaded(module: str, hook: Callable[[], None]) -> None:
    """Call `hook` once `module` is loaded: now if it is, else when its import ends.

    Args:
        module: Full name of a module; it is not imported here.
        hook: Takes nothing; must be safe to call twice.
    """
    with _LOCK:
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)
        _HOOKS[module] = hook
    if _is_loaded(module):
        _run(module)


def _is_loaded(module: str) -> bool:
    """Tell whether a module is loaded; where another thread is importing it, wait for that.

    A look at `sys.modules` is not enough: a thread that has passed our finder and has not come to
    the module's own code yet would load it without running the hook. So this imports the module,
    which takes its import lock, and our finder, the first one asked, ends what is not there yet.
    """
    _THREAD.asking = True
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    finally:
        _THREAD.asking = False
    return True


def _run(module: str) -> None:
    with _LOCK:
        hook = _HOOKS.pop(module, None)
    if hook is not None:
        hook()


class _Finder:
    """Finds nothing itself; lets the other finders find, and has the hook run afterwards."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if getattr(_THREAD, "asking", False):
            raise ImportError(f"{fullname} is not loaded")
        if fullname not in _HOOKS:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                _call_after_exec(spec)
                return spec
        return None


_FINDER = _Finder()


def _call_after_exec(spec: ModuleSpec) -> None:
    """Let the hook of `spec` run after its module was executed.

    The loader object itself stays, so that resources and sources of the module are found as ever.
    """
    loader: Any = spec.loader
    if loader is None:
        return
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module
        execute(module)
        _run(spec.name)

    loader.exec_module = exec_module


def register() -> None:
    """Hook every library we extend; calling it again changes nothing."""
    when_loaded("datasets", _hook_datasets)
    for kind, classes in _AUTO.items():
        ours = f"{_OURS}.{kind}_ifllm"
        hook = functools.partial(_register_classes, ours, classes)
        _extend(f"transformers.models.auto.{kind}_auto", ours, hook)
    _extend("transformers.pipelines", f"{_OURS}.pipeline_ifllm", _register_pipeline)


def _extend(theirs: str, ours: str, hook: Callable[[], None]) -> None:
    """Have our module imported once theirs is loaded, and run the hook once ours is.

    Ours may be on its way already: importing it can be what loads theirs.
    """

    def import_ours() -> None:
        import importlib.util

        if ours not in sys.modules and importlib.util.find_spec("torch") is not None:
            importlib.import_module(ours)

    when_loaded(ours, hook)
    when_loaded(theirs, import_ours)


def _register_classes(ours: str, classes: Mapping[str, str]) -> None:
    """Let the Auto classes find the classes of a module of ours; see `_AUTO`."""
    import transformers

    from ifllm_hf.reward.model.configuration_ifllm import IFLLMConfig

    module = importlib.import_module(ours)
    for auto, name in classes.items():
        key = IFLLMConfig.model_type if auto == "AutoConfig" else IFLLMConfig
        getattr(transformers, auto).register(key, getattr(module, name), exist_ok=True)


def _register_pipeline() -> None:
    """Let `pipeline("implicit-reward")` find ours; without a model it takes the shipped one."""
    from transformers import AutoModelForSequenceClassification
    from transformers.pipelines import PIPELINE_REGISTRY

    from ifllm_hf.reward.model.pipeline_ifllm import ImplicitRewardPipeline
    from ifllm_hf.reward.pretrained.shipped import pretrained

    ImplicitRewardPipeline.in_words = staticmethod(_in_words)
    tasks = PIPELINE_REGISTRY.supported_tasks
    if TASK not in tasks:
        PIPELINE_REGISTRY.register_pipeline(
            TASK,
            pipeline_class=ImplicitRewardPipeline,
            pt_model=AutoModelForSequenceClassification,
            type="multimodal",
        )
        # Not by `register_pipeline`: what it is told is saved with every model, and this is a place
        # on this machine.
        tasks[TASK] = {**tasks[TASK], "default": {"model": (str(pretrained()), None)}}


def _in_words(*args: Any, **kwargs: Any) -> list[str]:
    from ifllm_hf.reward.explain.evidence_parts import explain_evidence
    from ifllm_hf.reward.explain.in_words import in_words

    return in_words(explain_evidence(*args, **kwargs))


def _hook_datasets() -> None:
    """Let `datasets` resolve the bare name "ifllm" to our builder."""
    import datasets

    places = [sys.modules.get("datasets.load"), sys.modules.get("datasets.inspect")]
    with _LOCK:
        if not _internals_fit(places):
            import logging

            logging.getLogger(__name__).warning(_MOVED.format(version=datasets.__version__))
            _refuse(datasets)
            return
        for place in places:
            original = place.dataset_module_factory  # type: ignore[union-attr]
            if not hasattr(original, "_ifllm_original"):
                place.dataset_module_factory = _resolve(original)  # type: ignore[union-attr]


def _internals_fit(places: Sequence[ModuleType | None]) -> bool:
    """Tell whether the private names we need are there and look as we know them."""
    import inspect

    try:
        for place in places:
            factory = getattr(place, "dataset_module_factory")  # noqa: B009 (may be missing)
            if not {"path", "revision", "data_dir", "data_files"} <= set(
                inspect.signature(factory).parameters
            ):
                return False
        module = getattr(places[0], "DatasetModule")  # noqa: B009
        module(module_path="", hash="", builder_kwargs={})
    except (AttributeError, TypeError, ValueError):
        return False
    return True


def _is_ours(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    path = args[0] if args else kwargs.get("path")
    return isinstance(path, str) and path == DATASET_NAME


def _is_prepared_pattern(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether a prepared folder is asked for by a path with `*`, `?` or `[` in it."""
    path = args[0] if args else kwargs.get("path")
    if not isinstance(path, str) or not set("*?[") & set(path) or kwargs.get("data_dir"):
        return False
    from ifllm_hf.data.marker import is_prepared

    return is_prepared(path)


def _tell_of_version(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Warn of a prepared folder of another version: `datasets` only says which config it lacks."""
    path = args[0] if args else kwargs.get("path")
    if not isinstance(path, str):
        return
    import logging

    from ifllm_hf.data.marker import prepared_version
    from ifllm_hf.data.schema import CONFIGS, SCHEMA_VERSION

    if (version := prepared_version(path)) is None:
        return
    missing = [config for config in CONFIGS if not os.path.isdir(os.path.join(path, config))]
    if version != SCHEMA_VERSION or missing:
        logging.getLogger(__name__).warning(
            "%s: prepared by another version of ifllm_hf (schema %d, this is %d; configs missing: "
            "%s). Run `ifllm prepare` again.",
            path,
            version,
            SCHEMA_VERSION,
            ", ".join(missing) or "none",
        )


def _resolve(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `dataset_module_factory`: the bare name is ours, everything else goes through.

    But for prepared folders in whose path `datasets` would see a pattern, and find nothing or the
    files of another folder.
    """

    @functools.wraps(original)
    def dataset_module_factory(*args: Any, **kwargs: Any) -> Any:
        looks_like_pattern = _is_prepared_pattern(args, kwargs)
        if not (_is_ours(args, kwargs) or looks_like_pattern):
            _tell_of_version(args, kwargs)
            return original(*args, **kwargs)
        import inspect

        from ifllm_hf.data.prepared.ifllm import dataset_module

        given = inspect.signature(original).bind(*args, **kwargs).arguments
        return dataset_module(
            data_dir=given["path"] if looks_like_pattern else given.get("data_dir"),
            data_files=given.get("data_files"),
            revision=given.get("revision"),
        )

    dataset_module_factory._ifllm_original = original  # type: ignore[attr-defined]
    return dataset_module_factory


def _refuse(datasets: ModuleType) -> None:
    """Let the public functions say what to do; a prepared `./ifllm` needs no hook and loads."""
    for name in ("load_dataset", "load_dataset_builder"):
        function = getattr(datasets, name, None)
        if function is not None and not hasattr(function, "_ifllm_original"):
            setattr(datasets, name, _refusing(function, datasets.__version__))


def _refusing(original: Callable[..., Any], version: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def refusing(*args: Any, **kwargs: Any) -> Any:
        if _is_ours(args, kwargs):
            from ifllm_hf.data.marker import is_prepared
            from ifllm_hf.errors import ConfigError

            if not is_prepared(DATASET_NAME):
                raise ConfigError(_MOVED.format(version=version))
        return original(*args, **kwargs)

    refusing._ifllm_original = original  # type: ignore[attr-defined]
    return refusing
