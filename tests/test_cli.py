"""The `ifllm` command as a user meets it: help with examples, one line per error, clean streams."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from ifllm_hf import __version__, cli
from ifllm_hf.errors import EXTRAS, DataError, missing_extra

ROOT = Path(__file__).parents[1]
NAMES = {"sklearn": "scikit-learn"}
COMMANDS = (
    "prepare",
    "import",
    "review",
    "pack",
    "push",
    "features",
    "score",
    "benchmark",
    "audit",
    "label",
    "merge",
    "serve",
    "demo",
)
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def small(small_release: Path) -> Path:
    return small_release


def environment(home: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("IFLLM_")}
    return clean | {"HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `python -m ifllm_hf` in an empty folder, with an empty home."""
    (tmp_path / "home").mkdir()
    (tmp_path / "cwd").mkdir()

    def start(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "ifllm_hf", *arguments],
            cwd=tmp_path / "cwd",
            env=environment(tmp_path / "home") | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return start


def one_error(done: subprocess.CompletedProcess[str], *expected: str) -> None:
    """Check for exit code 1 and one message on stderr, without a traceback."""
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    words = [line for line in done.stderr.splitlines() if line.startswith("ifllm ")]
    assert len(words) == 1, done.stderr
    for part in expected:
        assert re.search(part, words[0]), (part, words[0])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    example = [line for line in out.splitlines() if line.startswith(f"  ifllm {command} ")]
    assert example, out
    # The options of the examples exist.
    for line in example:
        for option in re.findall(r"\s(--[a-z-]+)", line.split("#")[0]):
            assert f"  {option}" in out or f" [{option}" in out, (option, line)


def test_the_examples_of_the_help_parse(capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.parser()
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            parser.parse_args([command, "--help"])
        for line in capsys.readouterr().out.splitlines():
            if line.startswith(f"  ifllm {command}"):
                words = line.split("#")[0].split(">")[0].split()[1:]
                assert parser.parse_args(words).command == command


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    bare = capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert capsys.readouterr().out == bare
    listed = re.findall(r"^    ([a-z]+)(?: |$)", bare, re.MULTILINE)
    assert listed == list(COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"ifllm {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["prepare", "--synthetic", "0"], ["prepare", "--synthetic", "x"], ["push"]],
)
def test_wrong_usage_is_exit_code_2_with_usage_on_stderr(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("usage: ifllm")


@pytest.mark.parametrize(
    "arguments",
    [
        ["benchmark", "--jobs", "x"],
        ["benchmark", "--seed", "-1"],
        ["label", "pairs.parquet", "--seed", "1.5"],
        ["prepare", "--synthetic", "many"],
    ],
)
def test_a_number_that_is_none_is_named_with_what_was_expected(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(arguments)
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {arguments[-2]}: {arguments[-1]!r} is no whole number of at least" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prepare", "--synthetic", "3", "--public"], "--public leaves out"),
        (["features", "features.csv"], "features.csv: cannot write .csv"),
        (["benchmark", "--readers", "--jobs", "2"], "--jobs do not go with it"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_help_says_what_every_option_is_for() -> None:
    commands = cli.parser()._subparsers._group_actions[0].choices
    for name, command in commands.items():
        for action in command._actions:
            assert action.help, f"ifllm {name}: {action.option_strings or action.dest} has no help"


def test_help_loads_no_heavy_library() -> None:
    script = (
        "import sys\nfrom ifllm_hf import cli\ncli.parser().format_help()\n"
        "heavy = {'numpy', 'polars', 'pyarrow', 'torch', 'datasets'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_prepare_puts_json_on_stdout_and_words_on_stderr(
    run: Run, small: Path, tmp_path: Path
) -> None:
    done = run("prepare", str(small), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    place = tmp_path / "cwd" / "ifllm"
    assert report["out"] == str(place)
    assert report["synthetic"] is True
    total = report["ledgers"]["total"]
    assert total["seen"] == total["kept"] + sum(total["dropped"].values())
    assert "MADE UP" in done.stderr
    assert 'load_dataset("./ifllm")' in done.stderr
    assert (place / "README.md").is_file()
    card = (place / "README.md").read_text()
    assert re.search("made.?up|synthetic", card, re.IGNORECASE)


def test_prepare_makes_up_a_release(run: Run) -> None:
    done = run("prepare", "--synthetic", "3", "--seed", "2", "--out", "here/made")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert re.search(r"^\d+ turns of \d+ workers in 3 conversations -> ", done.stderr, re.MULTILINE)
    assert 'load_dataset("./here/made")' in done.stderr


def test_made_up_data_take_no_place_of_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["prepare", "--synthetic", "2"]) == 0
    assert cli.main(["prepare", "--synthetic", "3"]) == 0, "made up after made up"
    card = tmp_path / "ifllm" / "README.md"
    card.write_text(card.read_text().replace("- synthetic\n", "", 1))
    real = card.read_text()
    capsys.readouterr()
    assert cli.main(["prepare", "--synthetic", "3"]) == 1
    assert "ifllm: holds recordings of people" in capsys.readouterr().err
    assert card.read_text() == real


def test_source_and_synthetic_exclude_each_other(run: Run, small: Path) -> None:
    one_error(run("prepare", str(small), "--synthetic", "2"), "exclude each other")
    one_error(run("demo", str(small), "--synthetic", "2"), "exclude each other")


def test_a_missing_folder(run: Run) -> None:
    one_error(run("prepare", "no/such/place"), r"no/such/place: does not exist")
    done = run("prepare", IFLLM_RELEASE="no/such/variable")
    one_error(done, r"\$IFLLM_RELEASE is 'no/such/variable'", "Correct the variable")


def test_without_network_and_release_the_error_says_what_to_do(run: Run) -> None:
    one_error(run("prepare", HF_HUB_OFFLINE="1"), "HF_HUB_OFFLINE")


def test_a_folder_and_a_file_that_are_no_release(run: Run, tmp_path: Path) -> None:
    one_error(run("prepare", str(tmp_path / "home")), r"no query_logs_table\.csv in it")
    (tmp_path / "text").write_text("hello")
    one_error(run("prepare", str(tmp_path / "text")), str(tmp_path / "text"))


def test_a_truncated_archive(run: Run, small: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "half"), "xztar", small, "dataset"))
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    one_error(run("prepare", str(packed)), packed.name)
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.parametrize("name", ["../outside.csv", "/etc/outside.csv", "a/../../outside.csv"])
def test_an_archive_member_that_points_outside(
    name: str, run: Run, small: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "bad.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(small / "dataset", "dataset")
        member = tarfile.TarInfo(name)
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
    one_error(run("prepare", str(packed)), r"bad\.tar\.gz", re.escape(name.lstrip("/")))
    assert not list(tmp_path.rglob("outside.csv"))
    assert list((tmp_path / "cwd").iterdir()) == []


def test_a_table_without_a_column(run: Run, small: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(small, bad)
    table = bad / "dataset" / "task_table.csv"
    table.write_text(table.read_text().replace("accuracy", "acuracy", 1))
    one_error(run("prepare", str(bad)), r"task_table\.csv", "accuracy")


def test_a_behaviour_file_of_random_bytes_leaves_the_good_folder(
    run: Run, small: Path, prepared_small: Path, tmp_path: Path
) -> None:
    place = tmp_path / "cwd" / "ifllm"
    shutil.copytree(prepared_small, place)
    stood = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    bad = tmp_path / "bad"
    shutil.copytree(small, bad)
    victim = sorted((bad / "dataset" / "user_behavior").glob("*/*/rel_mouse.csv"))[0]
    victim.write_bytes(os.urandom(5000))
    where = "/".join(victim.parts[-3:])
    one_error(run("prepare", str(bad)), rf"{where}: line \d+ is", "Get it again")
    assert {p: p.read_bytes() for p in place.rglob("*") if p.is_file()} == stood
    assert [p.name for p in (tmp_path / "cwd").iterdir()] == ["ifllm"]


def test_a_taken_place_is_refused(run: Run, small: Path, tmp_path: Path) -> None:
    (tmp_path / "cwd" / "ifllm").mkdir()
    (tmp_path / "cwd" / "ifllm" / "mine.txt").write_text("mine")
    one_error(run("prepare", str(small)), "not a prepared folder")
    assert (tmp_path / "cwd" / "ifllm" / "mine.txt").read_text() == "mine"


SPEAK = """
import sys
from ifllm_hf import cli
cli._COMMANDS["push"] = lambda arguments: cli._show("words " * 100_000) or 0
sys.exit(cli.main(["push", "dataset", "org/name"]))
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_an_error(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", SPEAK], cwd=tmp_path, env=environment(tmp_path),
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.startswith("ifllm push: [Errno 28] No space left")


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"'{sys.executable}' -c '{SPEAK}' | head -c 5"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("words", "")
    assert done.returncode == 0


def test_an_operating_system_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ifllm_hf.data.prepared import prepare as module

    for error, code, words in (
        (OSError(28, "No space left on device", "/x"), 1, "No space left on device: '/x'"),
        (DataError("row 3: wrong"), 1, "row 3: wrong"),
        (KeyboardInterrupt(), 130, "interrupted; what stood there before is untouched"),
    ):

        def fail(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(module, "prepare", fail)
        assert cli.main(["prepare", "x"]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("ifllm prepare: ") and words in err


def test_an_interrupt_that_comes_twice_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = cli._say
    raised: list[str] = []

    def say(text: str) -> None:
        if not raised:
            raised.append(text)
            raise KeyboardInterrupt
        said(text)

    def fail(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_say", say)
    monkeypatch.setitem(cli._COMMANDS, "label", fail)
    assert cli.main(["label", "pairs.parquet"]) == 130
    err = capsys.readouterr().err
    assert err == "ifllm label: interrupted; what stood there before is untouched\n"


def test_a_package_of_an_extra_that_is_missing_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {k: " ".join(v) for k, v in declared["optional-dependencies"].items()}
    for package, extra in EXTRAS.items():
        assert NAMES.get(package, package) in extras[extra]

    def needs(name: str) -> None:
        def fail(_: object) -> int:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        monkeypatch.setitem(cli._COMMANDS, "benchmark", fail)

    needs("sklearn.linear_model")
    assert cli.main(["benchmark"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("ifllm benchmark: needs sklearn, which is not installed")
    assert "pip install -e '.[learn]'" in err
    wrapped = RuntimeError("Failed to import x because of the following error")
    wrapped.__cause__ = ModuleNotFoundError("No module named 'torch'", name="torch")
    assert "`train`" in str(missing_extra(wrapped))
    needs("ifllm_hf.no_such_file")  # a defect of ours
    with pytest.raises(ModuleNotFoundError):
        cli.main(["benchmark"])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, and an empty cache of `datasets`."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path / "downloads"))
    monkeypatch.delenv("IFLLM_RELEASE", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "cache"


def test_data_are_found_as_load_dataset_finds_them(
    cache: Path,
    small: Path,
    prepared_small: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from datasets import load_dataset

    import ifllm_hf  # noqa: F401

    def found(*arguments: str) -> str:
        capsys.readouterr()
        assert cli.main(["features", "f.parquet", "--overwrite", *arguments]) == 0
        return capsys.readouterr().err.splitlines()[0]

    assert cli.main(["features", "f.parquet"]) == 1  # nothing here, and no network
    assert "HF_HUB_OFFLINE" in capsys.readouterr().err
    monkeypatch.setenv("IFLLM_RELEASE", str(small))
    n = len(load_dataset("ifllm", "pairwise", split="train", cache_dir=str(cache)))
    assert f"{small}, prepared before" in found()
    (prepared,) = cache.glob("ifllm_prepared/*/ifllm")  # it is not prepared twice
    single = pl.read_parquet(prepared / "pointwise" / "*.parquet")
    assert pl.read_parquet("f.parquet").height == n + single.height
    shutil.copytree(prepared_small, "ifllm")
    assert f"the prepared folder {Path('ifllm').resolve()}" in found()
    other = shutil.copytree(small, "other")
    assert f"{Path(other).resolve()}, to be prepared" in found("--from", "other")
    assert len(list(cache.glob("ifllm_prepared/*/ifllm"))) == 2


@pytest.mark.parametrize("command", ["features", "benchmark", "label"])
def test_the_place_of_the_result_is_checked_before_data_are_looked_for(
    command: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("x.parquet").touch()
    out = ["--out", "x.parquet"] if command == "benchmark" else ["x.parquet"]
    assert cli.main([command, *out]) == 1
    assert "x.parquet: " in (said := capsys.readouterr().err) and "data: " not in said
    Path("x.parquet").unlink()
    assert cli.main([command, *out, "--from", "nowhere"]) == 1
    assert "nowhere: does not exist" in capsys.readouterr().err


def test_a_defect_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    from ifllm_hf.data.prepared import prepare as module

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "prepare", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["prepare", "x"])


@pytest.mark.slow
def test_ctrl_c_in_the_middle_leaves_the_good_folder(
    synthetic_release: Path, prepared_small: Path, tmp_path: Path
) -> None:
    (tmp_path / "cwd").mkdir()
    place = tmp_path / "cwd" / "ifllm"
    command = [sys.executable, "-W", "ignore", "-m", "ifllm_hf", "prepare"]
    env = environment(tmp_path)
    shutil.copytree(prepared_small, place)
    stood = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    process = subprocess.Popen(
        [*command, str(synthetic_release)], cwd=place.parent, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(place.parent.glob(".ifllm.*.tmp/*/*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to the workers as well
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted; what stood there before is untouched" in err
    assert "Traceback" not in err
    assert {p: p.read_bytes() for p in place.rglob("*") if p.is_file()} == stood
    assert [p.name for p in place.parent.iterdir()] == ["ifllm"]
