"""Every command, on real files: what it prints and what it leaves."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import psutil
import pytest
from click.testing import CliRunner, Result

from segship import __version__
from segship.benchmark.record import load_record
from segship.cli import segship
from segship.common.cli_exit import OneLineGroup
from segship.common.errors import CheckFailedError

FORBIDDEN_AT_START = ("numpy", "torch", "onnx", "onnxruntime", "openvino", "rich", "PIL", "yaml")


def invoke(*arguments: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(segship, [str(item) for item in arguments])


def succeed(*arguments: object) -> str:
    """Run a command that must exit with 0 and say nothing on stderr; return what it printed."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def test_version_is_the_whole_output() -> None:
    assert succeed("--version") == f"segship, version {__version__}\n"


def test_help_names_every_command_and_ends_with_an_example() -> None:
    overview = succeed("--help")
    for name, command in segship.commands.items():
        assert re.search(rf"^  {name} +[A-Z].*\.$", overview, re.MULTILINE), name
        assert re.search(r"Example: segship \w+[^\n]*$", (command.help or "").strip()), name
        assert f"segship {name}" in succeed(name, "--help")


def test_every_option_has_help() -> None:
    for name, command in segship.commands.items():
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name} {option.opts}"


def test_the_documentation_lists_the_commands(repository: Path) -> None:
    page = (repository / "docs" / "commands.md").read_text(encoding="utf-8")
    page = page.partition("**Artifacts.**")[0]  # tables of formats and options follow
    rows = re.findall(r"^\| `(\w+)", page, re.MULTILINE)
    assert sorted(rows) == sorted(segship.commands)


def test_documented_functions_exist(repository: Path) -> None:
    page = (repository / "docs" / "commands.md").read_text(encoding="utf-8")
    names = re.findall(r"`(segship(?:\.\w+)+)`", page)
    assert len(names) >= len(segship.commands)
    for name in names:
        module, _, function = name.rpartition(".")
        found = getattr(__import__(module, fromlist=[function]), function)
        assert found.__doc__, name


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from segship.cli import segship\n"
        "try: segship(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {FORBIDDEN_AT_START} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_script_and_module_are_the_same_program(repository: Path, tmp_path: Path) -> None:
    script = [sys.executable, str(repository / "cli.py")]
    module = [sys.executable, "-m", "segship.cli"]
    for arguments in (["--help"], ["inspect", "nowhere"], ["export", "--help"]):
        runs = [
            subprocess.run([*start, *arguments], capture_output=True, text=True, cwd=tmp_path)
            for start in (script, module)
        ]
        assert runs[0].returncode == runs[1].returncode
        assert (runs[0].stdout, runs[0].stderr) == (runs[1].stdout, runs[1].stderr)


def test_inspect_a_checkpoint(tiny_checkpoint: Path) -> None:
    text = succeed("inspect", tiny_checkpoint, "--size", "64x128")
    values = json.loads(succeed("inspect", tiny_checkpoint, "--size", "64x128", "--json"))
    assert f"{values['parameters']:,}" in text
    assert values["size_px"] == [64, 128]
    assert values["contract"]["size_px"] == [64, 96]
    assert sum(part["parameters"] for part in values["parts"]) == values["parameters"]
    assert values["gmacs"] == pytest.approx(sum(part["gmacs"] for part in values["parts"]))


def test_export_then_inspect(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    said = succeed("export", tiny_checkpoint, "-o", path, "--size", "96x64", "--explain")
    assert "equal to torch" in said
    assert re.search(r"^fold-head: changed 1$", said, re.MULTILINE)
    values = json.loads(succeed("inspect", path, "--json"))
    assert (values["kind"], values["contract"]["size_px"]) == ("onnx", [96, 64])
    assert "fold-head" in [note["name"] for note in values["passes"]]


def test_export_options_reach_the_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    kinds = ("--input", "uint8", "--output", "labels")
    said = succeed("export", tiny_checkpoint, "-o", path, *kinds, "--dynamic", "--no-fold")
    values = json.loads(succeed("inspect", path, "--json"))
    assert (values["contract"]["input"], values["contract"]["output"]) == ("uint8", "labels")
    assert values["passes"] == []
    assert re.search(r"^passes +none", said, re.MULTILINE)


def test_evaluate_writes_every_form(tiny_checkpoint: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    outputs = {form: tmp_path / f"r.{form}" for form in ("json", "html", "markdown")}
    written = [part for form, path in outputs.items() for part in (f"--{form}", path)]
    candidates = (f"{tiny_onnx}@onnxruntime", tiny_checkpoint)
    succeed("evaluate", *candidates, "--data", "scenes:3", *written)
    record = load_record(outputs["json"])
    first, second = record.measurements
    assert (first.runtime, second.runtime) == ("onnxruntime", "torch")
    assert first.accuracy and second.accuracy
    assert first.accuracy.images == 3
    assert second.accuracy.pixel_agreement is not None
    assert second.accuracy.pixel_agreement > 0.999
    again = tmp_path / "again.html"
    succeed("report", outputs["json"], "-o", again)
    assert again.read_bytes() == outputs["html"].read_bytes()
    again_md = tmp_path / "again.md"
    succeed("report", outputs["json"], "-o", again_md)
    assert again_md.read_bytes() == outputs["markdown"].read_bytes()


def test_the_runtime_option_serves_what_names_none(tiny_onnx: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    options = ("--runtime", "onnxruntime", "--threads", "1", "--limit", "1", "--json", path)
    succeed("evaluate", tiny_onnx, f"{tiny_onnx}@openvino", "--data", "scenes:2", *options)
    found = [(item.runtime, item.threads) for item in load_record(path).measurements]
    assert found == [("onnxruntime", 1), ("openvino", 1)]


def test_benchmark_measures_times_and_accuracy(tiny_onnx: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    quick = ("--rounds", "1", "--starts", "1", "--runtime", "onnxruntime", "--json", path)
    result = invoke("benchmark", tiny_onnx, "--data", "scenes:2", *quick)
    assert result.exit_code == 0, result.output
    (measured,) = load_record(path).measurements
    assert measured.latency and measured.frame and measured.memory and measured.cold_start
    assert measured.accuracy


def test_benchmark_sweeps(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    succeed("export", tiny_checkpoint, "-o", path, "--dynamic")
    saved = tmp_path / "sweep.json"
    axes = ("--sizes", "64,64x96", "--batches", "1,2", "--runtime", "onnxruntime")
    said = succeed("benchmark", path, *axes, "--json", saved)
    rows = json.loads(saved.read_text(encoding="utf-8"))["rows"]
    assert [(row["size_px"], row["batch"]) for row in rows] == [
        ([64, 64], 1),
        ([64, 64], 2),
        ([64, 96], 1),
        ([64, 96], 2),
    ]
    assert len(re.findall(r"^m · onnxruntime.* 64x96 +[12] ", said, re.MULTILINE)) == 2
    for unused in (("--html", tmp_path / "s.html"), ("--data", "scenes:2"), ("--rounds", "3")):
        refused = invoke("benchmark", path, *axes, *unused)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert f"leave out {unused[0]}" in refused.stderr


def test_doctor_names_every_runtime() -> None:
    said = succeed("doctor")
    for name in ("torch", "onnxruntime", "openvino"):
        assert name in said
    assert json.loads(succeed("doctor", "--json"))


def test_interruption_exits_130(tmp_path: Path, tiny_onnx: Path) -> None:
    command = [sys.executable, "-m", "segship.cli", "benchmark", str(tiny_onnx)]
    process = subprocess.Popen(
        [*command, "--rounds", "100000"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # a job in the background of a script is started with SIGINT ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    me = psutil.Process(process.pid)
    workers: list[psutil.Process] = []
    while not workers and process.poll() is None:  # until the measuring processes run
        time.sleep(0.1)
        workers = me.children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors == "Error: Interrupted.\n"
    assert not psutil.wait_procs(workers, timeout=10)[1], "a worker outlived the command"


@pytest.mark.parametrize(
    ("error", "exit_code", "said"),
    [
        (CheckFailedError("it\ndiffers"), 1, "Error: it differs\n"),
        (OSError(28, "No space left on device", "/x"), 2, "Cannot use /x: No space left"),
        (ValueError("deep down"), 70, "Unexpected ValueError: deep down. This is a defect"),
        (KeyboardInterrupt(), 130, "Error: Interrupted."),
    ],
)
def test_every_exception_is_one_line(error: BaseException, exit_code: int, said: str) -> None:
    @click.group(cls=OneLineGroup)
    @click.option("--debug", is_flag=True)
    def group(debug: bool) -> None:
        assert debug in (True, False)

    @group.command()
    def fail() -> None:
        raise error

    result = CliRunner().invoke(group, ["fail"])
    assert (result.exit_code, result.stderr.count("\n")) == (exit_code, 1)
    assert said in result.stderr
    debugged = CliRunner().invoke(group, ["--debug", "fail"])
    assert "Traceback" in debugged.stderr
    assert debugged.exit_code == exit_code
