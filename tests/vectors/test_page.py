"""The code and the commands on `docs/vectors.md` run as they stand."""

import re
import shlex
import shutil
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "vectors.md").read_text(encoding="utf-8")


def test_commands_and_code_of_the_page(trained, tiny_world, stand_in, call, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / "demo")
    (tmp_path / "people").symlink_to(tiny_world / "target" / "bounding_box_test")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    commands = [line for kind, block in blocks if not kind for line in block.splitlines()]
    assert commands
    for line in commands:
        assert call(*shlex.split(line)[1:])
    for kind, code in blocks:
        if kind == "python":
            exec(compile(code, "docs/vectors.md", "exec"), {})
    assert "(50, 128) ['-1_c1s1_000000_00.jpg'" in capsys.readouterr().out
