"""The command as a process of its own: what it imports, pipes that close, Ctrl-C."""

import os
import signal
import subprocess
import sys

import pytest

from regard.bundle import load
from regard.evaluation import evaluate
from regard.store import save_model
from tests.generation.models import byte_tokenizer, decoder

REGARD = [sys.executable, "-m", "regard"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs") / "tales"
    save_model(place, decoder(vocab_size=257, seed=3).float(), byte_tokenizer())
    return str(place)


@pytest.mark.parametrize("code", ["import regard", "from regard.cli import main; main(['generate', '--help'])"])
def test_torch_is_not_imported(code):
    check = f"import sys; {code}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], stdout=subprocess.DEVNULL).returncode == 0


def test_text_flows_through_pipes(folder):
    line = [*REGARD, "generate", folder, "--tokens", "5", "--seed", "1"]
    done = subprocess.run(
        line, input="天地\n", capture_output=True, encoding="utf-8", env={**os.environ, "PYTHONUTF8": "1"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("天地")


def test_a_reader_that_leaves_is_no_error(folder):
    line = [*REGARD, "generate", folder, "a", "--tokens", "3000"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.read(3)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


def test_ctrl_c_ends_without_a_traceback(folder):
    line = [*REGARD, "generate", folder, "a", "--tokens", "100000000"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.read(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().strip() == "regard: stopped."


def test_a_text_is_evaluated_from_a_pipe_as_from_a_file(folder, tmp_path):
    text = "天地玄黄，宇宙洪荒。" * 9
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    line = [*REGARD, "evaluate", folder, "--data"]
    piped = subprocess.run([*line, "-"], input=text, capture_output=True, encoding="utf-8")
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout == str(evaluate(load(folder), tmp_path / "text.txt")) + "\n"
